//! Small things in words: ages, limits, lists, counts.

use jiff::Timestamp;
use mesh_common::reason::Reason;

/// How long ago, as kubectl has it: `5s`, `3m20s`, `2h5m`, `4d`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    duration(now.as_second().saturating_sub(since.as_second()).max(0).unsigned_abs())
}

/// A number of seconds, in its two largest units while they are small.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if !seconds.is_multiple_of(60) => format!("{minutes}m{}s", seconds % 60),
        120..7_200 => format!("{minutes}m"),
        7_200..28_800 if !minutes.is_multiple_of(60) => format!("{hours}h{}m", minutes % 60),
        7_200..172_800 => format!("{hours}h"),
        172_800..691_200 if !hours.is_multiple_of(24) => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// A limit, or `none`.
pub fn limit(limit: Option<u64>) -> String {
    limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())
}

/// An algorithm, with what it hashes.
pub fn algorithm(name: &str, hash: Option<&str>) -> String {
    hash.map_or_else(|| name.to_owned(), |hash| format!("{name} by {hash}"))
}

/// Items with commas, as kubectl lists them.
pub fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// `1 service`, `2 services`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Whether the reason of this stable name is a refusal.
pub fn is_refusal(name: &str) -> bool {
    Reason::ALL.into_iter().any(|reason| reason.is_refusal() && reason.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        let words: Vec<_> =
            [0, 119, 120, 200, 600, 3_599, 7_199, 7_500, 28_800, 100_000, 180_000, 1_000_000].map(duration).into();
        assert_eq!(words.join(" "), "0s 119s 2m 3m20s 10m 59m 119m 2h5m 8h 27h 2d2h 11d");
    }

    #[test]
    fn a_clock_that_went_back_makes_no_negative_age() {
        assert_eq!(age(Timestamp::from_second(100).unwrap(), Timestamp::from_second(50).unwrap()), "0s");
    }
}
