//! Small things in words: ages, limits, lists, counts.

use crate::api::types::TrafficLimits;
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

/// All limits of a Service in words; empty for none.
pub fn limits(most: Option<u64>, each: Option<u64>, traffic: &TrafficLimits) -> String {
    let rate = |rate: Option<u64>, burst: Option<u64>, of: &str| {
        let burst = burst.filter(|burst| *burst > 1).map(|burst| format!(" (burst {burst})")).unwrap_or_default();
        rate.map(|rate| format!("{rate} new a second{of}{burst}"))
    };
    let parts = [
        most.map(|most| count(most, "connection")),
        each.map(|each| format!("{each} to each backend")),
        traffic.max_connections_per_client.map(|each| format!("{each} of each client")),
        traffic.max_inbound_connections_per_backend.map(|each| format!("{each} to each backend at its own node")),
        rate(traffic.connections_per_second, traffic.connection_burst, ""),
        rate(traffic.connections_per_second_per_client, traffic.connection_burst_per_client, " of each client"),
        traffic.max_flows_per_client.map(|most| format!("{} of each client", count(most, "UDP flow"))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match (parts.is_empty(), traffic.observe) {
        (true, _) => String::new(),
        (false, true) => format!("{}; observed only", parts.join(", ")),
        (false, false) => parts.join(", "),
    }
}

/// How long connections may last, in words; empty for any time.
pub fn lifetime(idle: Option<u64>, longest: Option<u64>) -> String {
    let parts = [idle.map(|s| format!("{s} s without data")), longest.map(|s| format!("{s} s in all"))];
    list(parts.into_iter().flatten()).replace(',', ", ")
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

/// Whether the reason of this stable name is a limit's that only observes.
pub fn is_observation(name: &str) -> bool {
    Reason::ALL.into_iter().any(|reason| reason.is_observation() && reason.name() == name)
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
    fn limits_read_as_one_sentence() {
        assert_eq!(limits(None, None, &TrafficLimits::default()), "");
        let traffic = TrafficLimits {
            max_connections_per_client: Some(5),
            max_inbound_connections_per_backend: Some(9),
            connections_per_second: Some(100),
            connection_burst: Some(20),
            connections_per_second_per_client: Some(10),
            connection_burst_per_client: Some(1),
            max_flows_per_client: Some(7),
            flow_idle_seconds: Some(30),
            observe: true,
        };
        assert_eq!(
            limits(Some(40), Some(8), &traffic),
            "40 connections, 8 to each backend, 5 of each client, 9 to each backend at its own node, 100 new a second (burst 20), 10 new a second of each client, \
             7 UDP flows of each client; observed only"
        );
    }

    #[test]
    fn a_clock_that_went_back_makes_no_negative_age() {
        assert_eq!(age(Timestamp::from_second(100).unwrap(), Timestamp::from_second(50).unwrap()), "0s");
    }
}
