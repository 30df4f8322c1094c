//! Listing and showing: the arguments that every such verb has, and the question behind them.

use super::arguments::{NamespaceArguments, SocketArguments};
use super::output::{Listed, OutputArguments};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a verb that lists takes.
#[derive(clap::Args, Debug)]
pub struct ListArguments {
    #[command(flatten)]
    namespace: NamespaceArguments,
    #[command(flatten)]
    socket: SocketArguments,
    #[command(flatten)]
    output: OutputArguments,
}

impl ListArguments {
    /// Prints what the agent answers at `path`, once or at every change.
    pub async fn run<T: Listed + DeserializeOwned>(self, path: &str) -> anyhow::Result<()> {
        let client = self.socket.client();
        let scope = self.namespace.parameter();
        self.output.list::<T>(async || client.get(path, &scope).await).await
    }
}

/// What a verb that shows one object takes, besides its name.
#[derive(clap::Args, Debug)]
pub struct ShowArguments {
    /// Its namespace.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    #[command(flatten)]
    socket: SocketArguments,
    #[command(flatten)]
    output: OutputArguments,
}

impl ShowArguments {
    /// Prints what the agent answers about `name` (NAME, or NAMESPACE/NAME) below `path`, once or at every change; for
    /// people as `render` has it.
    pub async fn run<T: Serialize + DeserializeOwned + PartialEq>(
        self,
        path: &str,
        name: &str,
        render: impl Fn(&T, bool) -> String,
    ) -> anyhow::Result<()> {
        let client = self.socket.client();
        let (namespace, name) = name.split_once('/').unwrap_or((&self.namespace, name));
        let path = format!("{path}/{namespace}/{name}");
        self.output.one(async || client.get(&path, &[]).await, render).await.map(drop)
    }
}
