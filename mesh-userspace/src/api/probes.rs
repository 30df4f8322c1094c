//! What load balancers, the kubelet and Prometheus ask: over the agent's socket, and over TCP where that is wanted.
//!
//! Health and metrics have an address each, as kube-proxy has: load balancers outside the cluster must reach the one, and
//! nobody who may not know the names of Services should reach the other.

use super::query::{Queries, Query};
use super::server::{Unavailable, ask};
use super::types::Healthz;
use crate::metrics::exposition;
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// How long one page of metrics serves all who ask: figures are gathered once a second at most, however many scrape.
const FRESH: Duration = Duration::from_secs(1);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address} ({option}); another program may have it, kube-proxy for one: choose another port")]
pub struct ListenError {
    address: SocketAddr,
    option: &'static str,
    #[source]
    source: io::Error,
}

/// Opens a TCP address. `option` names the argument that asked for it.
pub async fn listen(address: SocketAddr, option: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, option, source })
}

/// Answers until `shutdown` resolves.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, routes).with_graceful_shutdown(shutdown).await
}

/// `/healthz`, `/livez` and `/readyz`.
pub fn health(owner: Queries) -> Router {
    Router::new()
        .route("/livez", get(async |State(owner): State<Queries>| ask(&owner, Query::Alive).await.map(|()| "ok\n")))
        .route("/readyz", get(readiness))
        .route("/healthz", get(eligibility))
        .with_state(owner)
}

/// `/metrics`.
pub fn metrics(owner: Queries) -> Router {
    let page = Arc::new(Page { owner, last: Mutex::default() });
    Router::new().route("/metrics", get(async |State(page): State<Arc<Page>>| page.get().await)).with_state(page)
}

/// 200 when new connections are served as the cluster says as far as the data path is concerned: an object that could
/// not be read degrades the health and not the readiness.
async fn readiness(State(owner): State<Queries>) -> Result<Response, Unavailable> {
    let vitals = ask(&owner, Query::Vitals).await?;
    Ok(match vitals.trouble() {
        None => "ok\n".into_response(),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, trouble + "\n").into_response(),
    })
}

/// For load balancers (KEP-3836): as [`readiness`], and 503 when the node is about to be deleted.
async fn eligibility(State(owner): State<Queries>) -> Result<Response, Unavailable> {
    let vitals = ask(&owner, Query::Vitals).await?;
    let healthy = vitals.trouble().is_none();
    let code = if healthy && vitals.node_eligible { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let current_time = Timestamp::now();
    // What is in force is up to date as of now: changes are written as they come.
    let last_updated = if healthy { Some(current_time) } else { vitals.last_updated };
    Ok((code, Json(Healthz { last_updated, current_time, node_eligible: vitals.node_eligible })).into_response())
}

/// The last page of metrics.
struct Page {
    owner: Queries,
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl Page {
    /// A page that is fresh. The owner is asked by one scrape at a time; the text is made, and sent, without it.
    async fn get(&self) -> Result<Response, Unavailable> {
        let mut last = self.last.lock().await;
        let fresh = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, page)| page.clone());
        let page =
            if let Some(page) = fresh { page } else { last.insert((Instant::now(), self.make().await?)).1.clone() };
        Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], page).into_response())
    }

    async fn make(&self) -> Result<Bytes, Unavailable> {
        let figures = ask(&self.owner, Query::Figures).await?;
        let text = exposition::render(*figures).map_err(|error| {
            tracing::error!(%error, "the metrics could not be written as text");
            Unavailable
        })?;
        Ok(text.into())
    }
}
