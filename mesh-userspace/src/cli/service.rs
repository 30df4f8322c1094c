//! `mesh service`: Services as the agent serves them.

use super::asking::{ListArguments, ShowArguments};
use super::exit::Exit;
use super::output::Listed;
use super::table::{Cell, Column, Table, Tone};
use super::words;
use crate::api::types::{Backend, Service, ServiceDetail, ServiceState};
use std::fmt::Write as _;

/// Services as the agent serves them.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List Services: addresses, ports, backends, connections against their limit, refusals.
    #[command(visible_alias = "ls", after_help = LIST_EXAMPLES)]
    List(ListArguments),
    /// Show one Service: each endpoint with its verdict, the policy, what was refused and why.
    #[command(visible_aliases = ["describe", "get"], after_help = SHOW_EXAMPLES)]
    Show(Show),
}

#[derive(clap::Args, Debug)]
struct Show {
    /// The Service: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "SERVICE")]
    name: String,
    #[command(flatten)]
    which: ShowArguments,
}

const LIST_EXAMPLES: &str = "\
Examples:
  All Services:
    mesh service list
  Those of one namespace, with policy and algorithm:
    mesh service list -n shop -o wide
  Follow changes:
    mesh service list -w
  Services that refused somebody:
    mesh service list -o json | jq '.[] | select(.refused > 0) | .name'";

const SHOW_EXAMPLES: &str = "\
Examples:
  Why does a backend get no connections?
    mesh service show shop/cart
  The same for programs:
    mesh service show cart -n shop -o json";

impl Arguments {
    /// Lists or shows.
    pub async fn run(self) -> anyhow::Result<Exit> {
        match self.verb {
            Verb::List(list) => list.run::<Service>("/v1/services").await?,
            Verb::Show(show) => show.which.run("/v1/services", &show.name, describe).await?,
        }
        Ok(Exit::Ok)
    }
}

impl Listed for Service {
    const NOUN: &'static str = "Services";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAMESPACE"),
        Column::new("NAME"),
        Column::new("CLUSTER-IP"),
        Column::new("PORT(S)"),
        Column::new("BACKENDS"),
        Column::new("ACTIVE"),
        Column::new("LIMIT"),
        Column::new("REFUSED"),
        Column::new("STATE"),
        Column::wide("EXTERNAL-IP"),
        Column::wide("OPENED"),
        Column::wide("PER-BACKEND"),
        Column::wide("ALGORITHM"),
        Column::wide("AFFINITY"),
        Column::wide("POLICY"),
        Column::wide("MESSAGE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let full = self.max_connections.is_some_and(|limit| self.active >= limit);
        let without = self.state == ServiceState::Served && self.backends.eligible == 0;
        vec![
            (&self.namespace).into(),
            (&self.name).into(),
            words::list(&self.cluster_ips).into(),
            words::list(&self.ports).into(),
            Cell::toned(
                format!("{}/{}", self.backends.eligible, self.backends.listed),
                if without { Tone::Bad } else { Tone::Plain },
            ),
            Cell::toned(self.active, if full { Tone::Warning } else { Tone::Plain }),
            words::limit(self.max_connections).into(),
            Cell::toned(self.refused, if self.refused > 0 { Tone::Warning } else { Tone::Plain }),
            Cell::toned(self.state.name(), tone(self.state)),
            words::list(&self.external_ips).into(),
            self.opened.into(),
            words::limit(self.max_connections_per_backend).into(),
            words::algorithm(&self.algorithm, self.hash.as_deref()).into(),
            affinity(self).into(),
            self.policy.as_deref().unwrap_or_default().into(),
            (&self.message).into(),
        ]
    }

    fn key(&self) -> String {
        self.service_name().to_string()
    }
}

/// `ClientIP (10800s)`; empty for none.
fn affinity(service: &Service) -> String {
    service.affinity_timeout_seconds.map(|seconds| format!("ClientIP ({seconds}s)")).unwrap_or_default()
}

fn tone(state: ServiceState) -> Tone {
    match state {
        ServiceState::Served => Tone::Good,
        ServiceState::Ignored => Tone::Faint,
        ServiceState::Pending => Tone::Warning,
        ServiceState::Failed => Tone::Bad,
    }
}

/// The Service for people, as `kubectl describe` has it.
fn describe(detail: &ServiceDetail, wide: bool) -> String {
    let service = &detail.service;
    let mut text = String::new();
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{:<19}{}", format!("{name}:"), if value.is_empty() { "<none>" } else { &value });
    };
    field("Name", service.name.clone());
    field("Namespace", service.namespace.clone());
    let state = tone(service.state).paint(service.state.name());
    field("State", if service.message.is_empty() { state } else { format!("{state}: {}", service.message) });
    field("Addresses", words::list(&service.cluster_ips));
    field("External", words::list(&service.external_ips));
    field(
        "Ports",
        words::list(service.ports.iter().map(|port| match port.name.as_str() {
            "" => port.to_string(),
            name => format!("{name} {port}"),
        })),
    );
    field("Algorithm", service.algorithm.clone());
    field("Affinity", affinity(service));
    let kind = service.policy_kind.as_deref().unwrap_or("TrafficPolicy");
    field("Policy", service.policy.as_ref().map(|policy| format!("{kind} {policy}")).unwrap_or_default());
    let limits = words::limits(service.max_connections, service.max_connections_per_backend, &service.traffic);
    field("Limits", if limits.is_empty() { "none".to_owned() } else { limits });
    if let Some(drain) = &service.endings.drain {
        field("Drain", drain.clone());
    }
    let lifetime = words::lifetime(service.endings.idle_timeout_seconds, service.endings.max_duration_seconds);
    if !lifetime.is_empty() {
        field("Lifetime", lifetime);
    }
    field("Internal traffic", detail.internal_traffic_policy.clone());
    field("Distribution", detail.traffic_distribution.clone());
    field("Connections", format!("{} active, {} opened", service.active, service.opened));
    let refusals = detail.reasons.iter().filter(|(name, count)| **count > 0 && words::is_refusal(name));
    field("Refused", words::list(refusals.map(|(name, count)| format!("{name} {count}"))));
    let observed = detail.reasons.iter().filter(|(name, count)| **count > 0 && words::is_observation(name));
    let observed = words::list(observed.map(|(name, count)| format!("{name} {count}")));
    if service.traffic.observe || !observed.is_empty() {
        field("Observed", observed);
    }
    if detail.returned > 0 {
        field("Returned", words::count(detail.returned, "ejected backend") + " by a health check");
    }
    let ended = detail.ended.iter().filter(|(_, count)| **count > 0);
    let ended = words::list(ended.map(|(name, count)| format!("{name} {count}")));
    if !ended.is_empty() {
        field("Ended", ended);
    }
    let _ = write!(text, "Endpoints:");
    if detail.endpoints.is_empty() {
        let _ = writeln!(text, "         <none>: clients are refused");
    } else {
        let rows: Vec<_> = detail.endpoints.iter().map(|backend| backend.cells().split_off(2)).collect();
        let mut table = Table::new(&Backend::COLUMNS[2..], wide);
        text.push('\n');
        for line in table.render(&rows).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    if !detail.findings.is_empty() {
        let _ = writeln!(text, "Findings:");
        for finding in &detail.findings {
            let _ = writeln!(text, "  {}", super::status::sentence(finding));
        }
    }
    text
}
