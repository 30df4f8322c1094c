//! `mesh events`: sampled choices and refusals.

use super::arguments::{NamespaceArguments, SocketArguments};
use super::exit::Exit;
use super::output::{Format, Listed, OutputArguments, again, print};
use super::table::{Cell, Column, Table, Tone};
use crate::api::client::{ClientError, Lines};
use crate::api::types::Event;

/// Print sampled choices and refusals: which client went where, and why; and connections that the agent ended.
///
/// The agent remembers the last ones. Choices are sampled and all events are limited in rate (`mesh agent --event-sample`,
/// `--event-rate`): count with `mesh status` and `mesh service show`, not here.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only refusals.
    #[arg(long)]
    refused: bool,
    #[command(flatten)]
    namespace: NamespaceArguments,
    #[command(flatten)]
    socket: SocketArguments,
    #[command(flatten)]
    output: OutputArguments,
}

const EXAMPLES: &str = "\
Examples:
  The last events:
    mesh events
  Refusals as they come:
    mesh events --refused -w
  As JSON lines, for programs:
    mesh events -w -o json | jq -r 'select(.reason == \"service-limit\") | .command'";

impl Arguments {
    /// Prints what is remembered, and with `-w` what comes, from an agent that is started anew, too.
    pub async fn run(self) -> anyhow::Result<Exit> {
        let client = self.socket.client();
        let mut printer = Printer { table: Table::new(Event::COLUMNS, self.output.output == Format::Wide), any: false };
        self.stream(
            client.lines("/v1/events", &[("follow", self.output.watch.then_some("true"))]).await?,
            &mut printer,
        )
        .await?;
        if !self.output.watch {
            if !printer.any && self.output.output.is_for_people() {
                anstream::eprintln!("No events found.");
            }
            return Ok(Exit::Ok);
        }
        loop {
            let lines = again(&async || client.lines("/v1/events", &[("follow", Some("true"))]).await).await?;
            self.stream(lines, &mut printer).await?;
        }
    }

    /// Prints until the agent ends the stream.
    async fn stream(&self, mut lines: Lines<Event>, printer: &mut Printer) -> anyhow::Result<()> {
        loop {
            match lines.next().await {
                Ok(Some(event)) if self.wants(&event) => printer.print(&event, self.output.output)?,
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(ClientError::Broken { .. }) if self.output.watch => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn wants(&self, event: &Event) -> bool {
        let here = self
            .namespace
            .namespace
            .as_ref()
            .is_none_or(|wanted| event.service.as_ref().is_some_and(|service| service.namespace == *wanted));
        here && (event.refused || !self.refused)
    }
}

/// Rows that come one by one.
struct Printer {
    table: Table,
    any: bool,
}

impl Printer {
    fn print(&mut self, event: &Event, format: Format) -> anyhow::Result<()> {
        self.any = true;
        if format.is_for_people() { print(&self.table.render(&[event.cells()])) } else { format.record(event) }
    }
}

impl Listed for Event {
    const NOUN: &'static str = "events";
    const COLUMNS: &'static [Column] = &[
        Column::new("TIME").at_least(12),
        Column::new("REASON").at_least(13),
        Column::new("SERVICE").at_least(20),
        Column::new("FRONTEND").at_least(22),
        Column::new("BACKEND").at_least(18),
        Column::new("COMMAND").at_least(15),
        Column::new("PID"),
        Column::wide("NETNS"),
        Column::wide("CGROUP"),
        Column::wide("COOKIE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.at.strftime("%H:%M:%S%.3f").into(),
            Cell::toned(&self.reason, if self.refused { Tone::Bad } else { Tone::Good }),
            self.service.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            format!("{}/{}", self.frontend, self.protocol).into(),
            self.backend.map(|backend| backend.to_string()).unwrap_or_default().into(),
            (&self.command).into(),
            self.pid.into(),
            self.netns.into(),
            self.cgroup.into(),
            self.cookie.into(),
        ]
    }

    fn key(&self) -> String {
        format!("{} {}", self.at, self.cookie)
    }
}
