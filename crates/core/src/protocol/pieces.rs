//! Long messages in pieces.

use serde::{Deserialize, Serialize};

use super::LONGEST_MESSAGE_BYTES;

/// So much of a message, in bytes, is in a piece: even where each letter has to be escaped the piece is no longer than
/// [`MESSAGE_BYTES`](super::MESSAGE_BYTES).
const PIECE_BYTES: usize = 28 * 1024;

/// A part of a message that is longer than [`MESSAGE_BYTES`](super::MESSAGE_BYTES). Its pieces come one after the other;
/// what comes between them stands for itself, so that no heartbeat waits for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// So much of the message's JSON.
    pub text: String,
    /// Whether this ends it.
    pub is_last: bool,
}

impl Piece {
    /// The pieces of a message's JSON.
    pub fn cut(mut message: &str) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (text, rest) = message.split_at(message.floor_char_boundary(PIECE_BYTES));
            message = rest;
            (!text.is_empty()).then(|| Self { text: text.to_owned(), is_last: rest.is_empty() })
        })
    }
}

/// What has come of a message in pieces.
#[derive(Debug, Default)]
pub struct Pieces(String);

/// The pieces of a message are more than any message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pieces of a message come to more than {LONGEST_MESSAGE_BYTES} bytes")]
pub struct TooLong;

impl Pieces {
    /// The message's JSON, once its last piece is there.
    pub fn take(&mut self, piece: Piece) -> Result<Option<String>, TooLong> {
        if self.0.len() + piece.text.len() > LONGEST_MESSAGE_BYTES {
            return Err(TooLong);
        }
        self.0.push_str(&piece.text);
        Ok(piece.is_last.then(|| std::mem::take(&mut self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::MESSAGE_BYTES, *};

    #[test]
    fn the_pieces_of_a_message_make_it_again_and_none_is_long() {
        let message = "\"\\é\n".repeat(100_000);
        let mut pieces = Pieces::default();
        let mut whole = Vec::new();
        let mut count = 0;
        for piece in Piece::cut(&message) {
            count += 1;
            assert!(serde_json::to_string(&piece).unwrap().len() < MESSAGE_BYTES - 100);
            whole.extend(pieces.take(piece).unwrap());
        }
        assert!(count > 10, "{count}");
        assert_eq!(whole, [message]);
        let next = Piece { text: "[]".into(), is_last: true };
        assert_eq!(pieces.take(next).unwrap().as_deref(), Some("[]"));
    }

    #[test]
    fn pieces_without_end_are_refused() {
        let mut pieces = Pieces::default();
        let piece = || Piece { text: "x".repeat(LONGEST_MESSAGE_BYTES / 2), is_last: false };
        assert_eq!([(); 3].map(|()| pieces.take(piece())), [Ok(None), Ok(None), Err(TooLong)]);
    }
}
