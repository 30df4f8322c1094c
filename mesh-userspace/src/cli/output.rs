//! `-o` and `-w`: one way to print for every verb that asks.

use super::table::{Cell, Column, Table, Tone};
use crate::api::client::ClientError;
use anyhow::Context as _;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

/// How an answer is printed.
#[derive(clap::Args, Debug)]
pub struct OutputArguments {
    /// How to print.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: Format,

    /// Go on: print what changes, until interrupted. With json and yaml each change is an object with the keys `type`
    /// (ADDED, MODIFIED, DELETED) and `object`.
    #[arg(short, long)]
    pub watch: bool,
}

/// A format of `-o`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For people with a wide screen.
    Wide,
    /// For programs: the keys of docs/api.md.
    Json,
    /// The same as json, as YAML.
    Yaml,
}

impl Format {
    /// Whether it is for people.
    pub const fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Prints one whole document, for programs.
    pub fn document<T: Serialize>(self, item: &T) -> anyhow::Result<()> {
        plain(&match self {
            Self::Yaml => serde_saphyr::to_string(item)?,
            _ => format!("{}\n", serde_json::to_string_pretty(item)?),
        })
    }

    /// Prints one of many, for programs that read them as they come: a line of JSON, a document of YAML.
    pub fn record<T: Serialize>(self, item: &T) -> anyhow::Result<()> {
        plain(&match self {
            Self::Yaml => format!("---\n{}", serde_saphyr::to_string(item)?),
            _ => format!("{}\n", serde_json::to_string(item)?),
        })
    }
}

/// What can be listed: a row, and what it is known by while it is watched.
pub trait Listed: Serialize + PartialEq {
    /// The plural, for "no ... found".
    const NOUN: &'static str;

    /// The columns.
    const COLUMNS: &'static [Column];

    /// A cell for every column.
    fn cells(&self) -> Vec<Cell>;

    /// What stays the same while the rest changes.
    fn key(&self) -> String;
}

/// What a watched listing prints for one change.
#[derive(Serialize)]
struct Change<'a, T> {
    r#type: &'static str,
    object: &'a T,
}

/// How often a watched listing asks.
const INTERVAL: Duration = Duration::from_secs(1);

impl OutputArguments {
    /// Prints the list that `fetch` gets, once or for ever.
    pub async fn list<T: Listed>(&self, fetch: impl AsyncFn() -> Result<Vec<T>, ClientError>) -> anyhow::Result<()> {
        let mut table = Table::new(T::COLUMNS, self.output == Format::Wide);
        let mut items = fetch().await?;
        if !self.watch {
            return match self.output {
                Format::Table | Format::Wide if items.is_empty() => {
                    writeln!(anstream::stderr(), "No {} found.", T::NOUN).context("write to stderr")
                }
                Format::Table | Format::Wide => {
                    print(&table.render(&items.iter().map(Listed::cells).collect::<Vec<_>>()))
                }
                Format::Json | Format::Yaml => self.output.document(&items),
            };
        }
        let mut before = BTreeMap::new();
        loop {
            let now: BTreeMap<_, _> = items.into_iter().map(|item| (item.key(), item)).collect();
            self.changes(&mut table, &before, &now)?;
            before = now;
            items = again(&fetch).await?;
        }
    }

    /// Prints the one answer that `fetch` gets, once or at every change; for people as `render` has it.
    pub async fn one<T: Serialize + PartialEq>(
        &self,
        fetch: impl AsyncFn() -> Result<T, ClientError>,
        render: impl Fn(&T, bool) -> String,
    ) -> anyhow::Result<T> {
        let mut item = fetch().await?;
        loop {
            match self.output {
                Format::Table | Format::Wide => print(&render(&item, self.output == Format::Wide))?,
                Format::Json | Format::Yaml if self.watch => {
                    self.output.record(&Change { r#type: "MODIFIED", object: &item })?;
                }
                Format::Json | Format::Yaml => self.output.document(&item)?,
            }
            if !self.watch {
                return Ok(item);
            }
            let before = item;
            item = again(&fetch).await?;
            while item == before {
                item = again(&fetch).await?;
            }
            if self.output.is_for_people() {
                print("\n")?;
            }
        }
    }

    fn changes<T: Listed>(
        &self,
        table: &mut Table,
        before: &BTreeMap<String, T>,
        now: &BTreeMap<String, T>,
    ) -> anyhow::Result<()> {
        let gone = before.iter().filter(|(key, _)| !now.contains_key(*key)).map(|(_, item)| ("DELETED", item));
        let come = now
            .iter()
            .filter(|(key, item)| before.get(*key) != Some(item))
            .map(|(key, item)| (if before.contains_key(key) { "MODIFIED" } else { "ADDED" }, item));
        let changes: Vec<_> = gone.chain(come).collect();
        if !self.output.is_for_people() {
            let record = |(kind, object)| self.output.record(&Change { r#type: kind, object });
            return changes.into_iter().try_for_each(record);
        }
        let rows: Vec<_> = changes
            .into_iter()
            .map(|(kind, item)| {
                let mut cells = item.cells();
                if kind == "DELETED" {
                    cells[0] = Cell::toned(format!("(removed) {}", cells[0].text()), Tone::Faint);
                }
                cells
            })
            .collect();
        if rows.is_empty() { Ok(()) } else { print(&table.render(&rows)) }
    }
}

/// Asks again after the interval, and goes on asking while the agent is away: it may be restarted.
pub async fn again<T>(fetch: &impl AsyncFn() -> Result<T, ClientError>) -> anyhow::Result<T> {
    let mut away = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        match fetch().await {
            Err(ClientError::Unreachable { socket, .. } | ClientError::Broken { socket, .. }) => {
                if !away {
                    writeln!(anstream::stderr(), "The agent on {} is away; waiting for it.", socket.display())?;
                }
                away = true;
            }
            other => return Ok(other?),
        }
    }
}

/// Writes to stdout what has no colours.
fn plain(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes to stdout; colours only on a terminal.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}
