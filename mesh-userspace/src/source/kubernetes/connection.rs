//! Which API server, and as whom.

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// How long a connection may take to come about before it is tried again.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the server may be silent before its connection counts as dead. Each watch hears from it once a minute, be it
/// a bookmark; without this a connection that died without a word (a server's machine that is gone, a forgotten entry in
/// a firewall) would be waited on for five minutes.
const SILENCE: Duration = Duration::from_secs(90);

/// Where the API server is found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Connection {
    /// A kubeconfig; `None` for the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// The server's URL in place of the one that the kubeconfig or the pod's environment names. An agent in
    /// kube-proxy's place cannot reach the server by its Service. The certificate is checked all the same.
    pub server: Option<String>,
}

/// Why there is no connection to speak of.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {path}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KubeconfigError,
    },
    /// There is no service account.
    #[error("no --manifests, no --kubeconfig, and no service account of a pod")]
    InCluster(#[source] InClusterError),
    /// The server's URL is none.
    #[error("--api-server {url}: write it as https://HOST:PORT")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        source: hyper::http::uri::InvalidUri,
    },
    /// Certificates or tokens cannot be used.
    #[error("client of the API server")]
    Client(#[source] kube::Error),
}

/// A client, and the server's URL for people. Nothing is sent yet.
pub async fn connect(connection: &Connection) -> Result<(Client, String), ConnectionError> {
    let mut config = match &connection.kubeconfig {
        Some(path) => {
            let problem = |source| ConnectionError::Kubeconfig { path: path.clone(), source };
            let kubeconfig = Kubeconfig::read_from(path).map_err(problem)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(problem)?
        }
        None => Config::incluster().map_err(ConnectionError::InCluster)?,
    };
    if let Some(url) = &connection.server {
        config.cluster_url = url.parse().map_err(|source| ConnectionError::Url { url: url.clone(), source })?;
    }
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    // Else the time that a connection was not used counts as silence.
    config.reset_reader_on_write = true;
    let url = config.cluster_url.to_string();
    Client::try_from(config).map(|client| (client, url)).map_err(ConnectionError::Client)
}
