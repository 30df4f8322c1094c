//! `mesh explain`: what would become of a connection.

use super::arguments::SocketArguments;
use super::exit::Exit;
use super::output::OutputArguments;
use super::table::{Cell, Column, Table, Tone};
use super::words;
use crate::api::types::{Candidate, Explanation, Outcome, Rule, TrafficLimits};
use crate::plan::eligible::Scope;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Explain what would become of a connection: Service, rule, each backend in or out and why, the likely choice.
///
/// Nothing is sent. The answer is that of the agent's own node; counts and turns are those of this moment.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What is dialled: tcp or udp and an address, or service and a name.
    #[arg(value_enum)]
    kind: Kind,

    /// ADDRESS:PORT (IPv6 in brackets), or NAMESPACE/NAME[:PORT] of a Service, its port by name or number.
    #[arg(value_name = "TARGET")]
    target: String,

    /// The client: an address, a pod's name, or NAMESPACE/POD. Without it, any client on the agent's node.
    #[arg(long, value_name = "CLIENT")]
    from: Option<String>,

    #[command(flatten)]
    socket: SocketArguments,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Kind {
    /// TCP to an address.
    Tcp,
    /// UDP to an address.
    Udp,
    /// A Service by name.
    Service,
}

const EXAMPLES: &str = "\
Examples:
  Where does a connection to this address go?
    mesh explain tcp 10.96.0.10:80
  The same over UDP and IPv6:
    mesh explain udp '[fd00:96::a]:53'
  A Service by name:
    mesh explain service shop/cart:http
  For one client:
    mesh explain --from shop/web-1 tcp 10.96.0.10:80
  Watch the likely choice change:
    mesh explain -w tcp 10.96.0.10:80";

impl Arguments {
    /// Asks and prints.
    pub async fn run(self) -> anyhow::Result<Exit> {
        let client = self.socket.client();
        let target = Target::parse(self.kind, &self.target).map_err(super::exit::usage)?;
        let from = self.from.as_deref();
        self.output
            .one(async || client.get("/v1/explain", &target.parameters(from)).await, explain)
            .await
            .map(|_| Exit::Ok)
    }
}

/// The target as the parameters of the request.
#[derive(PartialEq, Eq, Debug)]
enum Target {
    Address { protocol: &'static str, address: String, port: String },
    Service { service: String, port: Option<String> },
}

impl Target {
    fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        let protocol = match kind {
            Kind::Tcp => "tcp",
            Kind::Udp => "udp",
            Kind::Service => {
                let (service, port) = text.split_once(':').map_or((text, None), |(s, p)| (s, Some(p)));
                let service = if service.contains('/') { service.to_owned() } else { format!("default/{service}") };
                if service.split('/').count() != 2 || service.split('/').any(str::is_empty) || port == Some("") {
                    return Err(format!("{text:?} names no Service; write NAMESPACE/NAME or NAMESPACE/NAME:PORT"));
                }
                return Ok(Self::Service { service, port: port.map(str::to_owned) });
            }
        };
        match text.parse::<SocketAddr>() {
            Ok(target) if target.port() != 0 => {
                Ok(Self::Address { protocol, address: target.ip().to_string(), port: target.port().to_string() })
            }
            _ => Err(format!("{text:?} is no target; {}", hint(kind, text))),
        }
    }

    fn parameters<'a>(&'a self, from: Option<&'a str>) -> [(&'static str, Option<&'a str>); 5] {
        let (protocol, address, service, port) = match self {
            Self::Address { protocol, address, port } => (Some(*protocol), Some(&**address), None, Some(&**port)),
            Self::Service { service, port } => (None, None, Some(&**service), port.as_deref()),
        };
        [("from", from), ("protocol", protocol), ("address", address), ("service", service), ("port", port)]
    }
}

/// What was probably meant.
fn hint(kind: Kind, text: &str) -> String {
    let kind = if kind == Kind::Udp { "udp" } else { "tcp" };
    let bare = text.trim_matches(['[', ']']);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let target = SocketAddr::new(address, 80);
        return format!("a port is missing, as in: mesh explain {kind} '{target}'");
    }
    if let Some((head, port)) = text.rsplit_once(':') {
        if head.parse::<IpAddr>().is_ok() || head.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return format!("{port:?} is no port; ports are 1 to 65535");
        }
        if head.contains('/') || head.chars().any(char::is_alphabetic) && !head.contains(':') {
            return format!("for a Service by name, write: mesh explain service {text}");
        }
    }
    format!("write ADDRESS:PORT, as in: mesh explain {kind} 10.96.0.10:80, or '[fd00::1]:80'")
}

const COLUMNS: &[Column] = &[
    Column::new("BACKEND"),
    Column::new("IN"),
    Column::new("NEXT"),
    Column::new("ACTIVE"),
    Column::new("WHY"),
    Column::new("POD"),
    Column::wide("WEIGHT"),
    Column::wide("NODE"),
    Column::wide("ZONE"),
    Column::wide("REGION"),
];

fn cells(candidate: &Candidate) -> Vec<Cell> {
    let (word, tone) = if candidate.is_in { ("in", Tone::Good) } else { ("out", Tone::Bad) };
    vec![
        SocketAddr::new(candidate.address, candidate.port).into(),
        Cell::toned(word, tone),
        if candidate.is_in { percent(candidate.probability) } else { String::new() }.into(),
        candidate.active.into(),
        (&candidate.why).into(),
        (&candidate.pod).into(),
        if candidate.weight == 0 { String::new() } else { candidate.weight.to_string() }.into(),
        (&candidate.node).into(),
        (&candidate.zone).into(),
        (&candidate.region).into(),
    ]
}

/// A probability for people: whole per cents where they are exact enough.
fn percent(probability: f64) -> String {
    let percent = probability * 100.0;
    if (percent - percent.round()).abs() < 0.05 { format!("{percent:.0}%") } else { format!("{percent:.1}%") }
}

/// The explanation for people, the answer first.
fn explain(explanation: &Explanation, wide: bool) -> String {
    let Explanation { target, protocol, summary, outcome, .. } = explanation;
    let tone = match outcome {
        Outcome::Balanced => Tone::Good,
        Outcome::Refused => Tone::Bad,
        Outcome::Untouched => Tone::Plain,
    };
    let mut text = format!("{target}/{protocol}: {} - {summary}\n\n", tone.paint(outcome.name()));
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{:<12}{value}", format!("{name}:"));
        }
    };
    if let Some(client) = &explanation.client {
        let address = client.address.map(|address| address.to_string()).unwrap_or_default();
        let place = [("", &address), ("pod ", &client.pod), ("node ", &client.node), ("zone ", &client.zone)];
        let known = place.into_iter().filter(|(_, v)| !v.is_empty() && **v != client.asked);
        let known = known.map(|(word, value)| format!("{word}{value}")).collect::<Vec<_>>().join(", ");
        field("Client", if known.is_empty() { client.asked.clone() } else { format!("{} ({known})", client.asked) });
    }
    let place = [("zone", &explanation.zone), ("region", &explanation.region)];
    let place = place.iter().filter(|(_, name)| !name.is_empty()).map(|(level, name)| format!(", {level} {name}"));
    field("Decided on", format!("node {}{}", explanation.node, place.collect::<String>()));
    field("Service", explanation.service.as_ref().map(ToString::to_string).unwrap_or_default());
    field(
        "Ports",
        words::list(explanation.ports.iter().map(|port| match port.name.as_str() {
            "" => port.to_string(),
            name => format!("{name} {port}"),
        })),
    );
    field("Rule", explanation.rule.as_ref().map(rule).unwrap_or_default());
    field("Likely", explanation.likely.clone());
    for note in &explanation.notes {
        field("Note", note.clone());
    }
    if !explanation.backends.is_empty() {
        let rows: Vec<_> = explanation.backends.iter().map(cells).collect();
        let _ = write!(text, "\n{}", Table::new(COLUMNS, wide).render(&rows));
    }
    text
}

/// The rule in words: algorithm, then what narrows the choice, then the limits and who set them.
fn rule(rule: &Rule) -> String {
    let mut text = words::algorithm(&rule.algorithm, rule.hash.as_deref());
    if let Some(scope) = Scope::ALL.into_iter().find(|scope| scope.name() == rule.scope) {
        let _ = write!(text, " among {}", scope.sentence());
    }
    if let Some(seconds) = rule.affinity_timeout_seconds {
        let _ = write!(text, " (sessionAffinity: ClientIP, {seconds} s)");
    }
    if !rule.traffic_distribution.is_empty() {
        let _ = write!(text, " (trafficDistribution: {})", rule.traffic_distribution);
    }
    let kind = rule.policy_kind.as_deref().unwrap_or("TrafficPolicy");
    let policy = rule.policy.as_ref().map(|policy| format!(" ({kind} {policy})")).unwrap_or_default();
    let _ = match (rule.max_connections, rule.max_connections_per_backend) {
        (None, None) if rule.traffic == TrafficLimits::default() => {
            return format!("{text}; no limit{policy}, {} open", rule.active);
        }
        (None, None) => write!(text, "; {} open", rule.active),
        (Some(most), None) => write!(text, "; {} of {most} connections open", rule.active),
        (None, Some(each)) => write!(text, "; at most {each} to each backend, {} open", rule.active),
        (Some(most), Some(each)) => {
            write!(text, "; {} of {most} connections open, at most {each} to each backend", rule.active)
        }
    };
    let traffic = words::limits(None, None, &rule.traffic);
    let _ = if traffic.is_empty() { Ok(()) } else { write!(text, ", at most {traffic}") };
    text.push_str(&policy);
    text
}
