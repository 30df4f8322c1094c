//! `mesh backend`: endpoints with the verdict on each.

use super::asking::ListArguments;
use super::exit::Exit;
use super::output::Listed;
use super::table::{Cell, Column, Tone};
use super::words;
use crate::api::types::{Backend, BackendState, InboundCounts};
use std::net::SocketAddr;

/// Backends of the Services, in or out, and why.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List backends: each endpoint of each Service port with its verdict and its connections.
    #[command(visible_alias = "ls", after_help = EXAMPLES)]
    List(ListArguments),
}

const EXAMPLES: &str = "\
Examples:
  All backends:
    mesh backend list
  With pod, node and zone:
    mesh backend list -n shop -o wide
  Those that get no connections, and why:
    mesh backend list -o json | jq '.[] | select(.state != \"eligible\") | {address, port, why}'";

impl Arguments {
    /// Lists.
    pub async fn run(self) -> anyhow::Result<Exit> {
        let Verb::List(list) = self.verb;
        list.run::<Backend>("/v1/backends").await?;
        Ok(Exit::Ok)
    }
}

impl Listed for Backend {
    const NOUN: &'static str = "backends";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAMESPACE"),
        Column::new("SERVICE"),
        Column::new("PORT"),
        Column::new("BACKEND"),
        Column::new("STATE"),
        Column::new("ACTIVE"),
        Column::new("LIMIT"),
        Column::new("WHY"),
        Column::wide("WEIGHT"),
        Column::wide("INBOUND"),
        Column::wide("INBOUND-LIMIT"),
        Column::wide("INBOUND-REFUSED"),
        Column::wide("POD"),
        Column::wide("NODE"),
        Column::wide("ZONE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let full = self.max_connections.is_some_and(|limit| self.active >= limit);
        let tone = match self.state {
            BackendState::Eligible => Tone::Good,
            BackendState::Ejected | BackendState::Kept | BackendState::Gone => Tone::Warning,
            BackendState::Excluded => Tone::Faint,
        };
        let inbound =
            |text: fn(&InboundCounts) -> String| Cell::from(self.inbound.as_ref().map(text).unwrap_or_default());
        vec![
            (&self.service.namespace).into(),
            (&self.service.name).into(),
            self.service_port.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            SocketAddr::new(self.address, self.port).into(),
            Cell::toned(self.state.name(), tone),
            Cell::toned(self.active, if full { Tone::Warning } else { Tone::Plain }),
            words::limit(self.max_connections).into(),
            (&self.why).into(),
            if self.weight == 0 { String::new() } else { self.weight.to_string() }.into(),
            inbound(|counts| counts.active.to_string()),
            inbound(|counts| {
                let mode = if counts.observe { " (observed)" } else { "" };
                format!("{}{mode}", words::limit(counts.max_connections))
            }),
            inbound(|counts| counts.refused.to_string()),
            (&self.pod).into(),
            (&self.node).into(),
            (&self.zone).into(),
        ]
    }

    fn key(&self) -> String {
        let port = self.service_port.as_ref().map(ToString::to_string).unwrap_or_default();
        let Self { service, address, protocol, .. } = self;
        format!("{service} {port:>9} {address} {} {protocol}", self.port)
    }
}
