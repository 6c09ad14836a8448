//! What of a task's output a terminal is shown: a task may colour its lines, and not move the cursor, set the
//! title, or write to the clipboard of whoever looks at its log.

const ESCAPE: u8 = 0x1b;

/// Makes output fit for a terminal, bit by bit.
#[derive(Default)]
pub struct Shown {
    state: State,
    /// Where a sequence began that is not at its end.
    sequence: Vec<u8>,
    /// A colour was set in this line.
    coloured: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Text,
    /// The first byte of a control character of two: these begin sequences, too.
    Wide,
    /// After an escape.
    Escape,
    /// `ESC [`, up to a letter that says what it does.
    Control,
    /// A text for the terminal (its title, a link), up to an escape or the line's end.
    Message,
}

impl Shown {
    /// What is shown of this.
    pub fn of(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        bytes.iter().for_each(|byte| self.take(*byte, &mut out));
        out
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        if byte == b'\n' {
            // No sequence goes over a line's end, and no colour.
            if std::mem::take(&mut self.coloured) {
                out.extend_from_slice(b"\x1b[0m");
            }
            out.push(byte);
            self.state = State::Text;
            return;
        }
        self.state = match std::mem::take(&mut self.state) {
            State::Text if byte == ESCAPE => State::Escape,
            State::Text if byte == 0xc2 => State::Wide,
            State::Text => {
                if byte == b'\t' || !byte.is_ascii_control() {
                    out.push(byte);
                }
                State::Text
            }
            State::Wide => match byte {
                0x9b => self.begin(),
                0x90 | 0x98 | 0x9d..=0x9f => State::Message,
                0x80..=0x9f => State::Text,
                _ => {
                    out.extend_from_slice(&[0xc2, byte]);
                    State::Text
                }
            },
            State::Escape => match byte {
                b'[' => self.begin(),
                b']' | b'P' | b'X' | b'^' | b'_' => State::Message,
                // What stands between an escape and the letter that ends it.
                0x20..=0x2f | ESCAPE => State::Escape,
                _ => State::Text,
            },
            State::Control => match byte {
                ESCAPE => State::Escape,
                0x20..=0x3f => {
                    self.sequence.push(byte);
                    State::Control
                }
                _ => {
                    if byte == b'm' && self.sequence.iter().all(|it| b"0123456789;:".contains(it)) {
                        out.extend_from_slice(b"\x1b[");
                        out.append(&mut self.sequence);
                        out.push(byte);
                        self.coloured = true;
                    }
                    State::Text
                }
            },
            // An escape ends it, with what follows; a bell does where there is one.
            State::Message if byte == ESCAPE => State::Escape,
            State::Message if byte == 0x07 => State::Text,
            State::Message => State::Message,
        };
    }

    fn begin(&mut self) -> State {
        self.sequence.clear();
        State::Control
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let whole = Shown::default().of(text.as_bytes());
        let mut by_byte = Shown::default();
        let by_byte: Vec<u8> = text.bytes().flat_map(|byte| by_byte.of(&[byte])).collect();
        assert_eq!(whole, by_byte, "it does not matter in which bits it comes");
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn colours_stay_and_end_with_their_line() {
        assert_eq!(shown("a \x1b[1;31mred\x1b[0m b\n"), "a \x1b[1;31mred\x1b[0m b\x1b[0m\n");
        assert_eq!(shown("\x1b[31mred\nplain\n"), "\x1b[31mred\x1b[0m\nplain\n");
        assert_eq!(shown("plain\tÄ ² ₂\n"), "plain\tÄ ² ₂\n");
    }

    #[test]
    fn what_does_something_to_the_terminal_goes() {
        for (text, expected) in [
            ("a\x1b[2Jb\x1b[10;10Hc\n", "abc\n"),
            ("a\x1b]0;title\x1b\\b\n", "ab\n"),
            ("a\x1b]52;c;Zm9v\x07b\n", "ab\n"),
            ("a\x1b]8;;http://x\nb\n", "a\nb\n"),
            ("a\x1bcb\x1b(0d\n", "abd\n"),
            ("a\u{9b}2Jb\u{9d}title\n", "ab\n"),
            ("a\x1b[>4mb\x1b[?25lc\n", "abc\n"),
            ("a\rb\x08c\n", "abc\n"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
