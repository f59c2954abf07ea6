//! The share of the connections that a canary serves.

use std::fmt;
use std::str::FromStr;

/// A share of the connections, in hundredths of a percent; above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u32);

/// The whole, in hundredths of a percent.
const WHOLE: u32 = 10_000;

/// The error for a text that is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no share; a number above 0 and up to 100 is expected, as in 5% or 0.5%")]
pub(crate) struct ShareError(String);

impl Share {
    /// Whether the share contains `lot`, a number that is uniform over all `u64`.
    pub(super) fn contains(self, lot: u64) -> bool {
        ((u128::from(lot) * u128::from(WHOLE)) >> 64) < u128::from(self.0)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        let percent = number.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
        let share = percent.map(|percent: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 0 to 10,000"
            )]
            let share = (percent * 100.0).round() as u32;
            share
        });
        share.filter(|share| *share > 0).map(Self).ok_or_else(|| ShareError(text.to_owned()))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        for (text, shown) in [("5%", "5%"), ("0.5", "0.5%"), (" 100 %", "100%"), ("0.01%", "0.01%")]
        {
            assert_eq!(text.trim().parse::<Share>().unwrap().to_string(), shown);
        }
        for wrong in ["", "%", "0", "-1", "101", "five", "0.001%", "NaN"] {
            let error = wrong.parse::<Share>().unwrap_err().to_string();
            assert!(error.contains("as in 5%"), "{error}");
        }
    }

    #[test]
    fn it_contains_as_much_as_it_says() {
        let share: Share = "5%".parse().unwrap();
        let step = u64::MAX / 100_000;
        let contained = (0..100_000).filter(|n| share.contains(n * step)).count();
        assert!((4_999..=5_001).contains(&contained), "{contained}");
        assert!("100%".parse::<Share>().unwrap().contains(u64::MAX));
    }
}
