//! Whole numbers in JSON that 64 bits don't hold. Python reads and writes them exactly, a reader that makes doubles of
//! them changes their last digits: so they are looked for before JSON is read, and refused.

use thiserror::Error;

/// A whole number that would come out as another.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the whole number {digits} is beyond 64 bits, and would lose its last digits: write it as a text, \"{digits}\""
)]
pub struct TooLarge {
    digits: String,
}

/// Refuses JSON that has a whole number below -2^63 or above 2^64 - 1, outside of texts. What is no JSON passes: whoever
/// reads it tells what is wrong with it.
pub fn fit_64_bits(json: &[u8]) -> Result<(), TooLarge> {
    let mut rest = json;
    while let Some(&first) = rest.first() {
        let length = match first {
            b'"' => length_of_text(rest),
            b'-' | b'0'..=b'9' => {
                let length = length_of_number(rest);
                let number = str::from_utf8(&rest[..length]).unwrap_or_default();
                let is_whole = !number.contains(['.', 'e', 'E']);
                // Nineteen digits always fit, and nearly all numbers have fewer.
                if is_whole && length > 19 && number.parse::<i64>().is_err() && number.parse::<u64>().is_err()
                {
                    return Err(TooLarge { digits: number.into() });
                }
                length
            }
            _ => 1,
        };
        rest = &rest[length..];
    }
    Ok(())
}

fn length_of_number(text: &[u8]) -> usize {
    let of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    text.iter().position(|byte| !of_number(byte)).unwrap_or(text.len())
}

/// The length of a text with its quotation marks; one that doesn't end goes to the end.
fn length_of_text(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_double_would_change_is_refused() {
        for number in ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890"] {
            for json in
                [number.to_owned(), format!("{{\"a\": [1, {number}]}}"), format!("[\"\\\"\", {number}]")]
            {
                let refused = fit_64_bits(json.as_bytes()).unwrap_err();
                assert_eq!(refused.digits, number, "{json}");
            }
        }
    }

    #[test]
    fn what_is_kept_as_it_is_passes() {
        let fine = [
            "18446744073709551615",
            "-9223372036854775808",
            "1e400",
            "123456789012345678901234567890.5",
            "\"123456789012345678901234567890\"",
            "\"\\\\\" 1",
            "\"no end 123456789012345678901234567890",
            "\"\\",
            "",
            "no json",
        ];
        for json in fine {
            assert_eq!(fit_64_bits(json.as_bytes()), Ok(()), "{json}");
        }
    }
}
