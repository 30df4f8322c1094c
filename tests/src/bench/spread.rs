//! The spread of a figure over rounds, and the quantiles of samples.

use std::fmt;

/// What rounds of one measurement gave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one: what targets are compared with.
    pub median: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of the figures of some rounds; `None` without any.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self { min, median: sorted[sorted.len() / 2], max })
    }

    /// Whether rounds differ by more than a tenth: such a figure says little on this machine.
    pub fn is_noisy(&self) -> bool {
        self.max - self.min > 0.1 * self.median
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let Self { min, median, max } = self;
        write!(f, "{median:.digits$} ({min:.digits$} to {max:.digits$}")?;
        f.write_str(if self.is_noisy() { ", noisy)" } else { ")" })
    }
}

/// The value below which a share of the samples lies; sorts them. 0 without samples.
pub fn quantile(samples: &mut [u64], share: f64) -> u64 {
    samples.sort_unstable();
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "an index below the number of samples")]
    let index = (samples.len() as f64 * share) as usize;
    samples.get(index).or(samples.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_names_the_middle_round() {
        let spread = Spread::of([1.02, 1.00, 1.01]).unwrap();
        assert_eq!(format!("{spread:.2}"), "1.01 (1.00 to 1.02)");
        assert_eq!(format!("{}", Spread::of([10.0, 14.0, 12.0]).unwrap()), "12 (10 to 14, noisy)");
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn quantiles_are_samples() {
        let mut samples: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(quantile(&mut samples, 0.5), 51);
        assert_eq!(quantile(&mut samples, 0.99), 100);
        assert_eq!(quantile(&mut samples, 1.0), 100);
        assert_eq!(quantile(&mut [], 0.5), 0);
    }
}
