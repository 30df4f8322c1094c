//! `mesh policy`: the policies that owners wrote, and where they are in force.

use super::asking::{ListArguments, ShowArguments};
use super::exit::Exit;
use super::output::Listed;
use super::table::{Cell, Column, Table, Tone};
use super::words;
use crate::api::types::{Policy, PolicyDetail};
use std::fmt::Write as _;

/// Policies that owners wrote, and where they are in force.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List TrafficPolicies and DestinationRules: what they ask for, and how many Services follow them.
    #[command(visible_alias = "ls", after_help = LIST_EXAMPLES)]
    List(ListArguments),
    /// Show one policy: the Services that follow it, and everything that is wrong with it.
    #[command(visible_aliases = ["describe", "get"], after_help = SHOW_EXAMPLES)]
    Show(Show),
}

#[derive(clap::Args, Debug)]
struct Show {
    /// The policy: NAME, or NAMESPACE/NAME. Of two kinds with one name, both are shown.
    #[arg(value_name = "POLICY")]
    name: String,
    #[command(flatten)]
    which: ShowArguments,
}

const LIST_EXAMPLES: &str = "\
Examples:
  All policies, and how many Services follow each:
    mesh policy list
  Those with something wrong:
    mesh policy list -o json | jq '.[] | select(.findings > 0) | .name'";

const SHOW_EXAMPLES: &str = "\
Examples:
  Why does a Service not follow its policy?
    mesh policy show shop/cart
  The same for programs:
    mesh policy show cart -n shop -o json";

impl Arguments {
    /// Lists or shows.
    pub async fn run(self) -> anyhow::Result<Exit> {
        match self.verb {
            Verb::List(list) => list.run::<Policy>("/v1/policies").await?,
            Verb::Show(show) => show.which.run("/v1/policies", &show.name, describe_all).await?,
        }
        Ok(Exit::Ok)
    }
}

impl Listed for Policy {
    const NOUN: &'static str = "policies";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAMESPACE"),
        Column::new("NAME"),
        Column::new("KIND"),
        Column::new("IN-FORCE"),
        Column::new("LIMIT"),
        Column::new("PER-BACKEND"),
        Column::new("ALGORITHM"),
        Column::new("FINDINGS"),
        Column::wide("SERVICES"),
        Column::wide("FILE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let all = self.in_force.len() == self.services.len() && !self.services.is_empty();
        vec![
            (&self.namespace).into(),
            (&self.name).into(),
            (&self.kind).into(),
            Cell::toned(
                format!("{}/{}", self.in_force.len(), self.services.len()),
                if all { Tone::Good } else { Tone::Warning },
            ),
            words::limit(self.max_connections).into(),
            words::limit(self.max_connections_per_backend).into(),
            self.algorithm.as_deref().unwrap_or_default().into(),
            Cell::toned(self.findings, if self.findings > 0 { Tone::Warning } else { Tone::Plain }),
            words::list(self.wildcard.iter().cloned().chain(self.services.iter().map(ToString::to_string))).into(),
            self.file.as_deref().unwrap_or_default().into(),
        ]
    }

    fn key(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }
}

#[expect(clippy::ptr_arg, reason = "the answer is a Vec, and this is called with a reference to it")]
fn describe_all(details: &Vec<PolicyDetail>, wide: bool) -> String {
    details.iter().map(|detail| describe(detail, wide)).collect::<Vec<_>>().join("\n")
}

/// The policy for people, as `kubectl describe` has it.
fn describe(detail: &PolicyDetail, wide: bool) -> String {
    let policy = &detail.policy;
    let mut text = String::new();
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{:<13}{}", format!("{name}:"), if value.is_empty() { "<none>" } else { &value });
    };
    field("Name", policy.name.clone());
    field("Namespace", policy.namespace.clone());
    field("Kind", policy.kind.clone());
    if let Some(file) = &policy.file {
        field("File", file.clone());
    }
    if let Some(wildcard) = &policy.wildcard {
        field("Hosts", wildcard.clone());
    }
    field("Services", words::list(&policy.services));
    field("In force", words::list(&policy.in_force));
    field("Limit", words::limit(policy.max_connections));
    field("Per backend", words::limit(policy.max_connections_per_backend));
    let traffic = words::limits(None, None, &policy.traffic);
    if !traffic.is_empty() {
        field("Traffic", traffic);
    }
    if let Some(drain) = &policy.endings.drain {
        field("Drain", drain.clone());
    }
    let lifetime = words::lifetime(policy.endings.idle_timeout_seconds, policy.endings.max_duration_seconds);
    if !lifetime.is_empty() {
        field("Lifetime", lifetime);
    }
    field("Algorithm", policy.algorithm.clone().unwrap_or_default());
    for port in &detail.port_policies {
        let algorithm = port.algorithm.clone().unwrap_or_else(|| "the default".to_owned());
        let lifetime = words::lifetime(port.idle_timeout_seconds, port.max_duration_seconds);
        let said = [algorithm, lifetime].into_iter().filter(|words| !words.is_empty());
        field(&format!("Port {}", port.port), said.collect::<Vec<_>>().join(", "));
    }
    if !detail.policy_findings.is_empty() {
        let rows: Vec<Vec<Cell>> = detail
            .policy_findings
            .iter()
            .map(|f| vec![(&f.severity).into(), (&f.field).into(), (&f.message).into(), (&f.action).into()])
            .collect();
        let columns = &[Column::new("SEVERITY"), Column::new("FIELD"), Column::new("WHAT"), Column::new("DO")];
        let _ = write!(text, "\n{}", Table::new(columns, wide).render(&rows));
    }
    text
}
