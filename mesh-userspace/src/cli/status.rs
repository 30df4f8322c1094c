//! `mesh status`: the agent and its data path at one glance.

use super::arguments::SocketArguments;
use super::exit::Exit;
use super::output::OutputArguments;
use super::table::{Cell, Column, Table, Tone};
use super::words;
use crate::api::types::{Finding, Health, InboundStatus, MapUsage, Program, Source, Status, WaitingState};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Show the agent and its data path: health, sources, what is wrong with objects, refusals, connections.
///
/// Exits with 0 when all is as the manifests say, and with 5 when something needs attention: an object that is rejected
/// or in conflict, a program that is not in force, a Service whose maps could not be written, a source that does not
/// follow.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    socket: SocketArguments,
    #[command(flatten)]
    output: OutputArguments,
}

const EXAMPLES: &str = "\
Examples:
  At one glance:
    mesh status
  With every map and every program:
    mesh status -o wide
  What is wrong with my manifests?
    mesh status -o json | jq '.findings[] | {file, field, message, action}'
  Wait until all is well:
    until mesh status >/dev/null; do sleep 1; done";

impl Arguments {
    /// Asks and prints.
    pub async fn run(self) -> anyhow::Result<Exit> {
        let client = self.socket.client();
        let status = self.output.one::<Status>(async || client.get("/v1/status", &[]).await, render).await?;
        if status.health != Health::Ok && !self.output.output.is_for_people() {
            anstream::eprintln!("{}: {}", status.health.name(), status.problems.join("; "));
        }
        Ok(if status.health == Health::Ok { Exit::Ok } else { Exit::Attention })
    }
}

/// The status for people.
fn render(status: &Status, wide: bool) -> String {
    render_at(status, wide, Timestamp::now())
}

fn render_at(status: &Status, wide: bool, now: Timestamp) -> String {
    let mut text = String::new();
    summary(status, now, &mut text);
    if !status.problems.is_empty() {
        text.push_str("\nProblems:\n");
        for problem in &status.problems {
            let _ = writeln!(text, "  {} {problem}", Tone::Bad.paint("!"));
        }
    }
    if !status.findings.is_empty() {
        text.push_str("\nFindings:\n");
        for finding in &status.findings {
            let _ = writeln!(text, "  {}", sentence(finding));
        }
    }
    section(&mut text, "Waiting", WAITING, wide, &status.waiting, |w| {
        vec![
            w.service.to_string().into(),
            match w.state {
                WaitingState::Pending => Cell::toned("pending", Tone::Warning),
                WaitingState::Failed => Cell::toned("failed", Tone::Bad),
            },
            w.attempts.into(),
            w.next_retry.map(|at| format!("in {}", words::age(now, at))).unwrap_or_default().into(),
            (&w.message).into(),
        ]
    });
    section(&mut text, "Sources", SOURCES, wide, &status.sources, |source| source_cells(source, now));
    if wide {
        section(&mut text, "Maps", MAPS, wide, &status.maps, map_cells);
        section(&mut text, "Programs", PROGRAMS, wide, &status.programs, program_cells);
    }
    text
}

/// The fields, one a line.
fn summary(status: &Status, now: Timestamp, text: &mut String) {
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{:<14}{value}", format!("{name}:"));
    };
    let zone = if status.zone.is_empty() { String::new() } else { format!(" (zone {})", status.zone) };
    field("Node", format!("{}{zone}", status.node));
    let tone = match status.health {
        Health::Ok => Tone::Good,
        Health::Starting => Tone::Warning,
        Health::Degraded => Tone::Bad,
    };
    let leaving = if status.node_eligible { "" } else { ", the node is about to be deleted" };
    field("Health", format!("{}{leaving}", tone.paint(status.health.name())));
    field(
        "Agent",
        format!(
            "mesh {} (ABI {}), pid {}, up {}",
            status.version,
            status.abi,
            status.pid,
            words::age(status.since, now)
        ),
    );
    let in_force = status.programs.iter().filter(|program| program.in_force).count();
    let force = format!("{in_force} of {} programs in force", status.programs.len());
    let tone = if in_force == status.programs.len() { Tone::Plain } else { Tone::Bad };
    field("Data path", format!("{} on {}, pins {}", tone.paint(&force), status.cgroup, status.pins));
    if let Some(fullest) = status.maps.iter().max_by_key(|map| map.used * 1_000 / map.size.max(1)) {
        field("Fullest map", format!("{} {} of {} ({}%)", fullest.name, fullest.used, fullest.size, percent(fullest)));
    }
    let services = status.services;
    let parts = [
        (services.served, "served", true),
        (services.without_backends, "without a backend", false),
        (services.waiting, "waiting", false),
        (services.ignored, "left alone", false),
    ];
    let parts = parts.iter().filter(|(count, _, always)| *always || *count > 0);
    field("Services", parts.map(|(count, word, _)| format!("{count} {word}")).collect::<Vec<_>>().join(", "));
    if !status.left_alone.is_empty() {
        field("Left alone", format!("pods {}", words::list(&status.left_alone)));
    }
    let sync = status.synchronisation;
    let took = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
    let mut line = sync.first_seconds.map_or_else(|| "not yet".to_owned(), |first| format!("first in {}", took(first)));
    if let Some(mean) = sync.mean_seconds {
        let _ = write!(line, ", then {} in {} each", words::count(sync.changes, "change"), took(mean));
    }
    if sync.failures > 0 {
        let failures = words::count(sync.failures, "failure");
        let _ = write!(line, ", {failures}, {} tried again", words::count(sync.retries, "Service"));
    }
    field("Sync", line);
    let connections = status.connections;
    let mut line = format!("{} active, {} opened", connections.active, connections.opened);
    for (count, word) in [
        (connections.spilled, "spilled"),
        (connections.flow_kept, "kept by flow"),
        (connections.affinity_kept, "kept by affinity"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {count} {word}");
        }
    }
    field("Connections", line);
    let refusals: Vec<_> = status.refusals.iter().filter(|(_, n)| **n > 0).map(|(r, n)| format!("{r} {n}")).collect();
    field("Refusals", if refusals.is_empty() { "none".to_owned() } else { refusals.join(", ") });
    if let Some(line) = inbound(&status.inbound) {
        field("Inbound", line);
    }
    let events = status.events;
    let lost = if events.lost > 0 { format!(", {} not written (rate limit)", events.lost) } else { String::new() };
    field("Events", format!("{} read{lost}", events.read));
    field(
        "Audit",
        status.audit.map_or_else(
            || "not yet".to_owned(),
            |audit| {
                let mut result = match audit.drifted {
                    0 => "all counts agree".to_owned(),
                    drifted => Tone::Bad.paint(&format!("{} off", words::count(drifted, "count"))),
                };
                if audit.given_back > 0 {
                    let _ = write!(result, ", {} given back", words::count(audit.given_back, "slot"));
                }
                let age = words::age(audit.at, now);
                format!("{} recounted {age} ago: {result}", words::count(audit.connections, "connection"))
            },
        ),
    );
}

/// Limits at this node's backends; nothing where there is none and never was.
fn inbound(status: &InboundStatus) -> Option<String> {
    let counted =
        status.packets.iter().filter(|(_, count)| **count > 0).map(|(reason, count)| format!("{reason} {count}"));
    let counted: Vec<_> = counted.collect();
    let all = status.in_force + status.missing.len() as u64 + status.left_out;
    if all == 0 && counted.is_empty() {
        return None;
    }
    let mut line = format!("{} of {} limited", status.in_force, words::count(all, "backend"));
    let _ = write!(
        line,
        " at {}{}, {}",
        words::count(status.interfaces, "interface"),
        status.attached_by.as_ref().map(|way| format!(" ({way})")).unwrap_or_default(),
        words::count(status.connections, "connection")
    );
    if !counted.is_empty() {
        let _ = write!(line, "; {}", counted.join(", "));
    }
    Some(line)
}

fn percent(map: &MapUsage) -> u64 {
    map.used * 100 / map.size.max(1)
}

/// A table under a title, when there is something in it.
fn section<T>(
    text: &mut String,
    title: &str,
    columns: &[Column],
    wide: bool,
    items: &[T],
    cells: impl Fn(&T) -> Vec<Cell>,
) {
    if !items.is_empty() {
        let rows: Vec<_> = items.iter().map(cells).collect();
        let _ = write!(text, "\n{title}:\n");
        for line in Table::new(columns, wide).render(&rows).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
}

const WAITING: &[Column] = &[
    Column::new("SERVICE"),
    Column::new("STATE"),
    Column::new("ATTEMPTS"),
    Column::new("RETRY"),
    Column::new("MESSAGE"),
];

const SOURCES: &[Column] = &[
    Column::new("SOURCE"),
    Column::new("SYNCED"),
    Column::wide("FILES"),
    Column::wide("DOCUMENTS"),
    Column::new("LAST-CHANGE"),
    Column::new("OBJECTS"),
    Column::new("PASSED-OVER"),
    Column::new("ERROR"),
];

fn source_cells(source: &Source, now: Timestamp) -> Vec<Cell> {
    let kinds = |kinds: &BTreeMap<String, u64>| words::list(kinds.iter().map(|(kind, n)| format!("{kind} {n}")));
    vec![
        (&source.name).into(),
        if source.synced { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Warning) },
        source.files.into(),
        source.documents.into(),
        source.last_change.map(|at| format!("{} ago", words::age(at, now))).unwrap_or_default().into(),
        kinds(&source.objects).into(),
        kinds(&source.passed_over).into(),
        Cell::toned(source.error.as_deref().unwrap_or_default(), Tone::Bad),
    ]
}

const MAPS: &[Column] = &[Column::new("MAP"), Column::new("USED"), Column::new("SIZE"), Column::new("FULL")];

fn map_cells(map: &MapUsage) -> Vec<Cell> {
    let full = percent(map);
    let tone = match full {
        0..80 => Tone::Plain,
        80..100 => Tone::Warning,
        _ => Tone::Bad,
    };
    vec![(&map.name).into(), map.used.into(), map.size.into(), Cell::toned(format!("{full}%"), tone)]
}

const PROGRAMS: &[Column] =
    &[Column::new("HOOK"), Column::new("PROGRAM"), Column::new("ATTACHED"), Column::new("IN-FORCE")];

fn program_cells(program: &Program) -> Vec<Cell> {
    let word = |yes| if yes { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Bad) };
    vec![(&program.hook).into(), program.program_id.into(), word(program.attached), word(program.in_force)]
}

/// A finding in one line: where, what, and what to do.
pub fn sentence(finding: &Finding) -> String {
    let tone = if finding.severity == "unsupported" { Tone::Warning } else { Tone::Bad };
    let mut text = tone.paint(&finding.severity);
    text.push(' ');
    if let Some(file) = &finding.file {
        text.push_str(file);
        if let Some(document) = finding.document {
            let _ = write!(text, " (document {document})");
        }
        text.push_str(": ");
    }
    if let Some(object) = &finding.object {
        let _ = write!(text, "{object}: ");
    }
    if !finding.field.is_empty() {
        let _ = write!(text, "{}: ", finding.field);
    }
    let _ = write!(text, "{}; {}", finding.message, finding.action);
    text
}
