//! Chance that comes out the same for the same seed: no generator whose state depends on who asked first.

use uuid::Uuid;

/// A source of numbers, by seed and by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance(u64);

impl Chance {
    /// The root of everything that a seed decides.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5b1c_77d3_9e0f_41a9))
    }

    /// Its branch for one purpose.
    #[must_use]
    pub fn of(self, purpose: u64) -> Self {
        Self(mix(
            self.0.rotate_left(23) ^ mix(purpose.wrapping_add(0x9e37_79b9_7f4a_7c15))
        ))
    }

    /// Its branch for a text.
    #[must_use]
    pub fn of_text(self, purpose: &str) -> Self {
        purpose
            .bytes()
            .fold(self, |chance, byte| chance.of(u64::from(byte)))
    }

    /// Any number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// A number below `bound`, which must not be nothing.
    pub fn below(self, bound: usize) -> usize {
        let wide = u128::from(self.0) * bound as u128;
        usize::try_from(wide >> 64).expect("less than the bound, which is one")
    }

    /// Whether something of that probability happens.
    pub fn happens(self, probability: f64) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "53 bits are as many as an f64 has"
        )]
        let drawn = (self.0 >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < probability
    }

    /// An id.
    pub fn id(self) -> Uuid {
        let (high, low) = (self.of(1).0, self.of(2).0);
        uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
            .into_uuid()
    }

    /// Puts `items` into some order.
    pub fn shuffle<T>(self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.of(last as u64).below(last + 1));
        }
    }
}

/// The finaliser of SplitMix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn the_same_seed_and_purpose_give_the_same() {
        let deck = |seed| {
            let mut deck: Vec<u32> = (0..50).collect();
            Chance::new(seed).of_text("deck").shuffle(&mut deck);
            deck
        };
        assert_eq!(deck(1), deck(1));
        assert_ne!(deck(1), deck(2));
        let mut sorted = deck(1);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..50));
    }

    #[test]
    fn what_is_likely_happens_more_often() {
        let seen = |probability| {
            (0..1000)
                .filter(|&turn| Chance::new(7).of(turn).happens(probability))
                .count()
        };
        assert_eq!(seen(0.0), 0);
        assert!((200..300).contains(&seen(0.25)), "{}", seen(0.25));
        assert_eq!(seen(1.0), 1000);
    }
}
