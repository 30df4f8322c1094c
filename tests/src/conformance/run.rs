//! Running the cases: side by side where they may, then those that want to be alone.

use super::{Bed, Case, Turn};
use anyhow::{Context, Result};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Cases at a time: most of each is waiting.
const SIDE_BY_SIDE: usize = 8;

/// Applies all cases' objects, runs the cases, and gives what was seen in the cases' order.
pub fn run(bed: &Bed, cases: &[Case]) -> Result<Vec<String>> {
    let objects: Vec<Value> = cases.iter().flat_map(|case| (case.manifests)(bed)).collect();
    bed.apply(&objects)?;
    let seen = Mutex::new(vec![None; cases.len()]);
    let of = |turn| cases.iter().enumerate().filter(move |(_, case)| case.turn == turn).collect::<Vec<_>>();
    let observe = |(index, case): (usize, &Case)| {
        let started = Instant::now();
        let answer = (case.observe)(bed).with_context(|| format!("{}: {}", case.number, case.name));
        eprintln!("{:>6.1} s  {}: {}: {answer:?}", started.elapsed().as_secs_f64(), case.number, case.name);
        if let Ok(mut seen) = seen.lock() {
            seen[index] = Some(answer.map_err(|error| format!("{error:#}")));
        }
    };
    let (together, next) = (of(Turn::Together), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(&case) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
                    observe(case);
                }
            });
        }
    });
    of(Turn::Alone).into_iter().for_each(observe);
    let seen = seen.into_inner().ok().context("a case panicked")?;
    let all = seen.into_iter().map(|answer| answer.context("a case did not run")?.map_err(anyhow::Error::msg));
    all.collect()
}
