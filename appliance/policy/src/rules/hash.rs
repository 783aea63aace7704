//! Numbers for texts, whatever their case: what differs in one of them is not the same text. Where they are
//! alike the texts themselves are compared, so that a coincidence costs time, and nothing else.

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
/// What makes letters of ASCII lower ones, in eight bytes at once.
const LOWER: u64 = 0x2020_2020_2020_2020;
/// What no character of ASCII has.
const FOREIGN: u64 = 0x8080_8080_8080_8080;

/// A number for the whole text.
pub(crate) fn hash(text: &str) -> u64 {
    // Of other letters some have a lower case in ASCII.
    let lower = (!text.is_ascii()).then(|| text.to_lowercase());
    let text = lower.as_deref().unwrap_or(text);
    let (words, _) = text.as_bytes().as_chunks::<8>();
    let mixed = words.iter().fold(text.len() as u64, |hash, word| {
        mix(hash ^ (u64::from_le_bytes(*word) | LOWER))
    });
    mix(mixed ^ (last_word(text) | LOWER)).wrapping_mul(MIX)
}

/// A number for the end of the text, where names and ids differ most: worth asking first, for of the rest
/// nothing is read.
pub(super) fn end(text: &str) -> u64 {
    let word = match last_word(text) {
        // The lower case may have more bytes or fewer.
        word if word & FOREIGN != 0 => last_word(&text.to_lowercase()),
        word => word,
    };
    (word | LOWER).wrapping_mul(MIX)
}

fn mix(word: u64) -> u64 {
    let mixed = word.wrapping_mul(MIX);
    mixed ^ mixed >> 29
}

/// The last eight bytes, or all of fewer.
fn last_word(text: &str) -> u64 {
    match text.as_bytes().last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => text
            .bytes()
            .fold(0, |word, byte| word << 8 | u64::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number_whatever_its_case() {
        for text in [
            "",
            "HR",
            "Staff",
            "Engineers",
            "9D10AA11-0000-4000-8000-00000000A001",
            "S-1-5-21-1004336348-1177238915-682003330-512",
            "\u{c4}rzte",
            "Verwaltung K\u{d6}LN",
            "\u{39f}\u{394}\u{39f}\u{3a3}",
            // Their lower case is shorter, and longer.
            "\u{212a}ELVIN",
            "\u{212a}",
            "STAFF OF \u{130}STANBUL",
            "\u{130}",
        ] {
            let lower = text.to_lowercase();
            for number in [hash, end] {
                assert_eq!(number(text), number(&lower), "{text}");
                assert_ne!(number(text), number(&format!("{text}x")), "{text}");
            }
            assert_ne!(hash(text), hash(&format!("x{text}")), "{text}");
        }
    }
}
