//! `mesh connection`: sockets that are connected through a Service.

use super::asking::ListArguments;
use super::exit::Exit;
use super::output::Listed;
use super::table::{Cell, Column};
use super::words;
use crate::api::types::Connection;
use jiff::Timestamp;

/// Sockets that are connected through a Service.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List connections: what the client dialled, where it was sent, since when.
    #[command(visible_alias = "ls", after_help = EXAMPLES)]
    List(ListArguments),
}

const EXAMPLES: &str = "\
Examples:
  All connections of this node, oldest first:
    mesh connection list
  How many each backend has:
    mesh connection list -o json | jq 'group_by(.backend) | map({(.[0].backend): length}) | add'";

impl Arguments {
    /// Lists.
    pub async fn run(self) -> anyhow::Result<Exit> {
        let Verb::List(list) = self.verb;
        list.run::<Connection>("/v1/connections").await?;
        Ok(Exit::Ok)
    }
}

impl Listed for Connection {
    const NOUN: &'static str = "connections";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAMESPACE"),
        Column::new("SERVICE"),
        Column::new("PROTOCOL"),
        Column::new("FRONTEND"),
        Column::new("BACKEND"),
        Column::new("AGE"),
        Column::wide("NETNS"),
        Column::wide("COOKIE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let (namespace, name) = self.service.as_ref().map_or(("", ""), |s| (s.namespace.as_str(), s.name.as_str()));
        vec![
            namespace.into(),
            name.into(),
            (&self.protocol).into(),
            self.frontend.into(),
            self.backend.into(),
            words::age(self.opened, Timestamp::now()).into(),
            self.netns.into(),
            self.cookie.into(),
        ]
    }

    fn key(&self) -> String {
        format!("{} {:020}", self.opened, self.cookie)
    }
}
