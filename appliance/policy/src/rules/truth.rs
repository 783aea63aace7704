//! What a condition may be in the end.

/// The truths that a condition may still have in the end: true, false, unknown. Without a token on its
/// way it is always one of them; with one, a condition about it may become any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Truth(u8);

impl Truth {
    pub(crate) const TRUE: Self = Self(1);
    pub(crate) const FALSE: Self = Self(2);
    /// Nobody can say.
    pub(crate) const UNKNOWN: Self = Self(4);
    /// The token will tell.
    pub(crate) const OPEN: Self = Self(7);
    /// Enough for a rule that restricts.
    pub(crate) const RESTRICTS: Self = Self(5);

    pub(crate) const fn of(truth: bool) -> Self {
        if truth { Self::TRUE } else { Self::FALSE }
    }

    /// Whether it may be one of these in the end.
    pub(crate) const fn may_be(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }

    /// Whether it will be one of these in the end.
    pub(crate) const fn must_be(self, one: Self) -> bool {
        self.0 & !one.0 == 0
    }

    pub(crate) const fn not(self) -> Self {
        Self(self.0 & 4 | (self.0 & 1) << 1 | (self.0 & 2) >> 1)
    }

    /// False if either is, else unknown if either is.
    pub(crate) const fn and(self, other: Self) -> Self {
        let mut both = self.0 & other.0 & 1 | (self.0 | other.0) & 2;
        if self.0 & 4 != 0 && other.0 & 5 != 0 || other.0 & 4 != 0 && self.0 & 5 != 0 {
            both |= 4;
        }
        Self(both)
    }

    /// True if either is, else unknown if either is.
    pub(crate) const fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    /// True if any is.
    pub(crate) fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        truths.into_iter().fold(Self::FALSE, Self::or)
    }
}
