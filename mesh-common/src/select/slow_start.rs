//! A backend that is new takes less at first: the ramp of Envoy's slow start, without a write as it rises.
//!
//! A backend younger than the window is accepted with the probability that the ramp has for its age; when it is not, the
//! rule picks anew. So its share rises by the clock alone, whoever watches.

/// Parts into which a ramp's window is divided; the ramp is straight in each.
pub const PARTS: usize = 8;

/// How often a pick of a new backend may be rejected before it is taken all the same: a Service of new backends only is
/// served by them.
pub const TRIES: u32 = 4;

/// The probabilities at the ends of the ramp's parts, in parts of 65,535; the last is 65,535.
pub type Ramp = [u16; PARTS];

/// `max(least, age^(1/aggression))` at the end of each part, as in Envoy's documentation of slow start. `least` and
/// `aggression` are in hundredths.
#[cfg(any(test, feature = "std"))]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a probability of 0 to 1, in 65,535ths")]
pub fn ramp(least: u32, aggression: u32) -> Ramp {
    let least = f64::from(least.min(100)) / 100.0;
    let power = 100.0 / f64::from(aggression.max(1));
    let mut age = 0.0;
    [(); PARTS].map(|()| {
        age += 1.0 / f64::from(PARTS as u32);
        (f64::powf(age, power).clamp(least, 1.0) * 65_535.0).round() as u16
    })
}

/// The probability of a backend of this age, 0 to 1: what [`accepts`] does on average.
#[cfg(any(test, feature = "std"))]
pub fn share(ramp: &Ramp, from: u16, window: u64, age: u64) -> f64 {
    if age >= window { 1.0 } else { f64::from(threshold(ramp, from, window, age) + 1).min(65_536.0) / 65_536.0 }
}

/// Whether 16 random bits accept a backend of this age (nanoseconds). `from` is the probability at age 0.
#[inline(always)]
pub fn accepts(ramp: &Ramp, from: u16, window: u64, age: u64, random: u16) -> bool {
    age >= window || u32::from(random) <= threshold(ramp, from, window, age)
}

/// The largest of 16 random bits that accept a backend younger than the window.
#[inline(always)]
fn threshold(ramp: &Ramp, from: u16, window: u64, age: u64) -> u32 {
    // Age in 256ths of a part; `window` is below 2^52 ns (52 days).
    let scaled = (age * ((PARTS as u64) << 8) / window.max(1)) as usize;
    let (part, within) = (scaled >> 8, (scaled & 0xff) as u32);
    let start = u32::from(if part == 0 { from } else { ramp[(part - 1) & (PARTS - 1)] });
    let end = u32::from(ramp[part & (PARTS - 1)]);
    // Between the two, by how far the age is within the part: no ramp falls, and a product stays below 2^24.
    start + ((end.saturating_sub(start) * within) >> 8)
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small counts")]
mod tests {
    use super::*;

    const WINDOW: u64 = 30_000_000_000;

    fn measured(ramp: &Ramp, from: u16, age: u64) -> f64 {
        (0..=u16::MAX).filter(|&random| accepts(ramp, from, WINDOW, age, random)).count() as f64 / 65_536.0
    }

    #[test]
    fn a_ramp_rises_as_envoys_does() {
        for (least, aggression) in [(10, 100), (10, 200), (1, 50), (50, 100)] {
            let ramp = ramp(least, aggression);
            let from = u16::try_from(least * 65_535 / 100).unwrap();
            for percent in [0u32, 13, 25, 50, 75, 99] {
                let age = WINDOW / 100 * u64::from(percent);
                let wanted =
                    (f64::from(percent) / 100.0).powf(100.0 / f64::from(aggression)).max(f64::from(least) / 100.0);
                let share = measured(&ramp, from, age);
                assert!((share - super::share(&ramp, from, WINDOW, age)).abs() < 1e-9);
                assert!((share - wanted).abs() < 0.1, "{aggression} at {percent} %: {share} instead of {wanted}");
            }
        }
    }

    #[test]
    fn it_never_falls_and_ends_with_the_window() {
        let ramp = ramp(10, 150);
        let mut before = 0.0;
        for age in (0..WINDOW).step_by(1_000_000_000) {
            let now = measured(&ramp, 6_553, age);
            assert!(now >= before);
            before = now;
        }
        assert!(accepts(&ramp, 6_553, WINDOW, WINDOW, u16::MAX));
        assert!(accepts(&ramp, 6_553, 0, 0, u16::MAX), "no window, no ramp");
    }
}
