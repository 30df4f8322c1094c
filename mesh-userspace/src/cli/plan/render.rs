//! A plan for people: a sign for each line, as terraform and diff have it.

use super::Plan;
use super::compare::{Action, Difference, ServiceChange};
use super::estimate::{Estimate, InboundEstimate};
use crate::cli::status::sentence;
use crate::cli::table::Tone;
use crate::cli::words::count;
use std::fmt::Write as _;

/// The plan as text.
pub fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for change in &plan.changes {
        service(change, &mut text);
    }
    if !plan.findings.is_empty() {
        text.push_str("Findings:\n");
        for finding in &plan.findings {
            let _ = writeln!(text, "  {}", sentence(finding));
        }
        text.push('\n');
    }
    if plan.changes.is_empty() {
        text.push_str("No changes: the maps are as the manifests say.\n");
        return text;
    }
    let number = |action| plan.changes.iter().filter(|change| change.action == action).count();
    let _ = writeln!(
        text,
        "Plan: {} to add, {} to change, {} to remove.",
        number(Action::Add),
        number(Action::Change),
        number(Action::Remove)
    );
    let maps = plan.maps.iter().map(|map| format!("{} {} -> {}", map.name, map.before, map.after));
    let _ = writeln!(text, "Entries: {}.", maps.collect::<Vec<_>>().join(", "));
    text
}

fn service(change: &ServiceChange, text: &mut String) {
    let word = match change.action {
        Action::Add => "will be added",
        Action::Change => "will be changed",
        Action::Remove => "will be removed",
    };
    let _ = writeln!(text, "{} Service {} {word}", sign(change.action), change.service);
    let mut frontend = None;
    for difference in &change.differences {
        if difference.frontend != frontend {
            frontend.clone_from(&difference.frontend);
            // A frontend that comes or goes has said so in its own line.
            let named = change.differences.iter().any(|d| d.field == "frontend" && value(d) == frontend.as_deref());
            if let (Some(frontend), false) = (&frontend, named) {
                let _ = writeln!(text, "    {} {frontend}", sign(Action::Change));
            }
        }
        line(difference, text);
    }
    if let Some(estimate) = &change.estimate {
        let Estimate { refused, of, observed } = *estimate;
        let _ = match (refused, observed) {
            (0, _) => writeln!(text, "    with the present load, would refuse none of {}", count(of, "connection")),
            (_, true) => writeln!(
                text,
                "    with the present load, would observe about {refused} of {} that it would refuse",
                count(of, "connection")
            ),
            (_, false) => {
                writeln!(text, "    with the present load, would refuse about {refused} of {}", count(of, "connection"))
            }
        };
    }
    if let Some(InboundEstimate { refused, of, observed, at_least }) = change.inbound_estimate {
        let about = if at_least { "at least" } else { "about" };
        let of = count(of, "connection");
        let at = "at backends on this node";
        let _ = match (refused, observed) {
            (0, _) if at_least => writeln!(text, "    with the load that is known, would refuse none of {of} {at}"),
            (0, _) => writeln!(text, "    with the present load, would refuse none of {of} {at}"),
            (_, true) => writeln!(
                text,
                "    with the present load, would observe {about} {refused} of {of} {at} that it would refuse"
            ),
            (_, false) => writeln!(text, "    with the present load, would refuse {about} {refused} of {of} {at}"),
        };
    }
    text.push('\n');
}

fn value(difference: &Difference) -> Option<&str> {
    difference.after.as_deref().or(difference.before.as_deref())
}

fn line(difference: &Difference, text: &mut String) {
    let Difference { action, field, frontend, before, after } = difference;
    let indent = if frontend.is_some() { 8 } else { 4 };
    let sign = sign(*action);
    let _ = match (before, after) {
        (Some(before), Some(after)) => writeln!(text, "{:indent$}{sign} {field} {before} -> {after}", ""),
        _ => writeln!(text, "{:indent$}{sign} {field} {}", "", value(difference).unwrap_or_default()),
    };
}

fn sign(action: Action) -> String {
    match action {
        Action::Add => Tone::Good.paint("+"),
        Action::Change => Tone::Warning.paint("~"),
        Action::Remove => Tone::Bad.paint("-"),
    }
}
