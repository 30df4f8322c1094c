//! How long changes take to get into the maps.

use crate::model::ServiceKey;
use jiff::Timestamp;
use prometheus_client::metrics::histogram::Histogram;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Upper bounds of the buckets, in seconds: from a store in memory to what somebody must look at.
const BUCKETS: [f64; 14] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Watches changes from their receipt until the maps are as they should be.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    /// When the oldest change came that no sync has taken up yet.
    received: Option<Instant>,
    /// The sync that is under way.
    began: Option<Instant>,
    /// Services whose change is not yet in the maps, and when it was received.
    on_the_way: HashMap<ServiceKey, Instant>,
    first: Option<Duration>,
    last: Option<Timestamp>,
    /// Changes that are in the maps, and how long they took together.
    done: (u32, Duration),
    changes: Histogram,
    syncs: Histogram,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            received: None,
            began: None,
            on_the_way: HashMap::new(),
            first: None,
            last: None,
            done: (0, Duration::ZERO),
            changes: Histogram::new(BUCKETS),
            syncs: Histogram::new(BUCKETS),
        }
    }
}

impl Progress {
    /// A source reported changes.
    pub fn received(&mut self) {
        self.received.get_or_insert_with(Instant::now);
    }

    /// A sync begins.
    pub fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    /// The sync is to bring this Service in line. What belongs to the first full list is measured as a whole.
    pub fn wants(&mut self, service: &ServiceKey) {
        if self.first.is_some()
            && let Some(since) = self.received.or(self.began)
        {
            self.on_the_way.entry(service.clone()).or_insert(since);
        }
    }

    /// The sync has ended; `is_pending` says which Services are not in line yet.
    pub fn end(&mut self, is_pending: impl Fn(&ServiceKey) -> bool) {
        let now = Instant::now();
        if let Some(began) = self.began.take() {
            self.syncs.observe(now.duration_since(began).as_secs_f64());
        }
        self.received = None;
        self.first.get_or_insert_with(|| now.duration_since(self.started));
        self.last = Some(Timestamp::now());
        let (changes, done) = (&self.changes, &mut self.done);
        self.on_the_way.retain(|service, since| {
            let pending = is_pending(service);
            if !pending {
                let took = now.duration_since(*since);
                changes.observe(took.as_secs_f64());
                *done = (done.0.saturating_add(1), done.1 + took);
            }
            pending
        });
    }

    /// From the agent's start until the first full list was in the maps.
    pub fn first(&self) -> Option<Duration> {
        self.first
    }

    /// When the maps were last brought in line.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Changes that got into the maps since the first full list, one for each Service.
    pub fn changes(&self) -> u64 {
        u64::from(self.done.0)
    }

    /// How long they took on average, in seconds.
    pub fn mean(&self) -> Option<f64> {
        Some(self.done.1.checked_div(self.done.0)?.as_secs_f64())
    }

    /// The changes' and the syncs' durations. They go on counting what is counted here.
    pub fn histograms(&self) -> [Histogram; 2] {
        [self.changes.clone(), self.syncs.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("shop", name)
    }

    #[test]
    fn a_change_counts_once_and_only_when_its_service_is_in_line() {
        let mut progress = Progress::default();
        progress.received();
        progress.begin();
        progress.wants(&key("a"));
        assert_eq!(progress.first(), None);
        progress.end(|_| false);
        assert!(progress.first().is_some() && progress.last().is_some());
        assert_eq!((progress.changes(), progress.mean()), (0, None), "the first list is measured as a whole");

        progress.received();
        progress.begin();
        progress.wants(&key("a"));
        progress.wants(&key("b"));
        progress.end(|service| *service == key("b"));
        assert_eq!(progress.changes(), 1);
        let waited = Duration::from_millis(20);
        std::thread::sleep(waited);
        progress.begin();
        progress.end(|_| false);
        assert_eq!(progress.changes(), 2);
        assert!(progress.mean().unwrap() >= waited.as_secs_f64() / 2.0, "{:?}", progress.mean());
    }
}
