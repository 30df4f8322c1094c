//! The policy's say in which of the eligible endpoints takes what part of the connections.

use super::eligible::{Verdict, Why};
use super::locality::{Localities, Step, place};
use crate::model::{Balance, Endpoint, Part, Place};

/// Weights stay below this; more are scaled down together.
const MOST: u64 = 1_000_000;

/// The weight of each endpoint of one port against the others; 0 for those that take nothing, whose verdict says why.
/// Weights have no divisor in common, so that equal ones are 1. `ejected` says of each whether it is out for a time.
pub fn weigh(
    balance: &Balance,
    endpoints: &[&Endpoint],
    verdicts: &mut [Verdict],
    here: Place<'_>,
    localities: &Localities,
    ejected: &[bool],
) -> Vec<u32> {
    let places: Vec<Place<'_>> = if balance.looks_at_places() {
        endpoints.iter().map(|endpoint| place(endpoint, localities)).collect()
    } else {
        vec![Place::default(); endpoints.len()]
    };
    if !balance.prefer.is_empty() {
        prefer(balance, &places, verdicts, here, ejected);
    }
    let own = |endpoint: &Endpoint, place: Place<'_>| {
        let matching = balance.weights.iter().find(|weight| weight.which.holds(endpoint, place));
        u64::from(matching.map_or(1, |matching| matching.weight))
    };
    let located = || endpoints.iter().copied().zip(places.iter().copied());
    let mut weights: Vec<u64> = located()
        .zip(&*verdicts)
        .map(|((endpoint, place), verdict)| if verdict.is_in() { own(endpoint, place) } else { 0 })
        .collect();
    let parts = parts(balance, here);
    let part_of: Vec<Option<usize>> =
        located().map(|(endpoint, place)| parts.iter().position(|part| part.which.holds(endpoint, place))).collect();
    split(&parts, &part_of, &mut weights);

    if weights.iter().all(|&weight| weight == 0) {
        // Nothing would take a connection: all that are eligible do, alike.
        return verdicts.iter().map(|verdict| u32::from(verdict.is_in())).collect();
    }
    for ((verdict, (endpoint, place)), weight) in verdicts.iter_mut().zip(located()).zip(&weights) {
        if verdict.is_in() && *weight == 0 {
            *verdict = Verdict::Out(if own(endpoint, place) == 0 { Why::NoWeight } else { Why::NoPart });
        }
    }
    reduced(&weights)
}

/// The parts of all connections that hold for clients here.
pub fn parts<'a>(balance: &'a Balance, here: Place<'_>) -> Vec<&'a Part> {
    let mut parts: Vec<&Part> = balance.split.iter().filter(|part| part.from.holds(here)).collect();
    let first = parts.iter().map(|part| part.entry).min();
    parts.retain(|part| Some(part.entry) == first);
    parts
}

/// What is near comes first: while an endpoint that is nearer takes connections, no other does. Where all of the nearest are
/// ejected the next ones take connections besides: the programs pass over those that are out, and find them when they are back.
fn prefer(balance: &Balance, places: &[Place<'_>], verdicts: &mut [Verdict], here: Place<'_>, ejected: &[bool]) {
    let steps: Vec<Step> = places.iter().map(|place| Step::of(balance, *place, here)).collect();
    let taking = |with_ejected: bool| {
        let all = steps.iter().zip(&*verdicts).zip(ejected);
        all.filter(move |((_, verdict), ejected)| verdict.is_in() && (with_ejected || !**ejected))
            .map(|((step, _), _)| *step)
    };
    let Some(last) = taking(false).min().or_else(|| taking(true).min()) else { return };
    for (step, verdict) in steps.iter().zip(verdicts) {
        if verdict.is_in() && *step > last {
            *verdict = Verdict::Out(step.why(balance));
        }
    }
}

/// Each part gets its share of all, shared out by weight among its endpoints. The share of a part without endpoints goes
/// to the others, in proportion; where no part has any, nothing is split.
fn split(parts: &[&Part], part_of: &[Option<usize>], weights: &mut [u64]) {
    let mut totals = vec![0u64; parts.len()];
    for (part, weight) in part_of.iter().zip(&*weights) {
        if let Some(part) = *part {
            totals[part] += weight;
        }
    }
    let filled = |part: usize| totals[part] > 0 && parts[part].percent > 0;
    if !(0..parts.len()).any(filled) {
        return;
    }
    // A common multiple, where it is a small number, gives whole weights.
    let scale = totals.iter().filter(|total| **total > 0).try_fold(1u64, |scale, &total| {
        let multiple = scale / gcd(scale, total) * total;
        (multiple <= MOST).then_some(multiple)
    });
    let scale = scale.unwrap_or(MOST);
    for (part, weight) in part_of.iter().zip(weights) {
        *weight = match *part {
            Some(part) if totals[part] > 0 => u64::from(parts[part].percent) * scale * *weight / totals[part],
            _ => 0,
        };
    }
}

fn reduced(weights: &[u64]) -> Vec<u32> {
    let divisor = weights.iter().fold(0, |divisor, &weight| gcd(divisor, weight)).max(1);
    let most = weights.iter().max().map_or(0, |most| most / divisor);
    let scaled = |&weight: &u64| match weight / divisor {
        0 => 0,
        weight if most > MOST => (weight * MOST / most).max(1) as u32,
        weight => weight as u32,
    };
    weights.iter().map(scaled).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
