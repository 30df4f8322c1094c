//! The agent's side of the socket: routes, and who may open it.

use super::probes;
use super::query::{EventFeed, ExplainQuery, ExplainTarget, Queries, Query, Reply, Scope};
use super::types::{Event, Failure};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream;
use mesh_common::address::Protocol;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{broadcast, oneshot};

/// How long the owner of the state may take to answer before the API says that it does not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts to make the socket on a full disk.
const BIND_AGAIN: Duration = Duration::from_secs(1);

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent answers there.
    #[error("another agent answers on {0}; end it, or give this one its own --socket, --pins and --cgroup")]
    InUse(PathBuf),
    /// The folder or the socket cannot be made.
    #[error("open the socket {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Where the API will be answered.
#[derive(Debug)]
pub enum Listener {
    /// Callers reach it.
    Open(UnixListener),
    /// The disk is full: the socket is to be made once there is room. Connections do not wait for that.
    Later(PathBuf),
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Open(listener)
    }
}

/// Opens the socket, or leaves that for later when the disk is full.
pub fn open(path: &FilePath) -> Result<Listener, BindError> {
    match bind(path) {
        Err(BindError::Io { path, source }) if is_full(&source) => {
            tracing::warn!(path = %path.display(), error = %source, "no socket yet: the agent serves, but answers no questions");
            Ok(Listener::Later(path))
        }
        bound => bound.map(Listener::Open),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Opens the socket, for root alone, in the place of one that a killed agent left. It appears with its permissions: it
/// is made under another name and renamed.
pub fn bind(path: &FilePath) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    if UnixStream::connect(path).is_ok() {
        return Err(BindError::InUse(path.to_owned()));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    let _ = std::fs::remove_file(&new); // left by an earlier process of the same number
    let listener = UnixListener::bind(&new).map_err(failed)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(failed)?;
    Ok(listener)
}

/// Answers until `shutdown` resolves. Open event streams end with the owner's channel.
pub async fn serve(
    listener: impl Into<Listener>,
    owner: Queries,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let mut shutdown = Box::pin(shutdown);
    let listener = match listener.into() {
        Listener::Open(listener) => listener,
        Listener::Later(path) => tokio::select! {
            listener = bind_later(&path) => listener,
            () = &mut shutdown => return Ok(()),
        },
    };
    axum::serve(listener, router(owner)).with_graceful_shutdown(shutdown).await
}

/// Tries until there is room.
async fn bind_later(path: &FilePath) -> UnixListener {
    loop {
        tokio::time::sleep(BIND_AGAIN).await;
        if let Ok(listener) = bind(path) {
            tracing::info!(path = %path.display(), "over: the socket is open");
            return listener;
        }
    }
}

/// All routes.
fn router(owner: Queries) -> Router {
    Router::new()
        .route("/v1/status", get(async |State(owner): State<Queries>| json(ask(&owner, Query::Status).await)))
        .route("/v1/findings", get(async |State(owner): State<Queries>| json(ask(&owner, Query::Findings).await)))
        .route("/v1/tables", get(async |State(owner): State<Queries>| json(ask(&owner, Query::Tables).await)))
        .route("/v1/services", get(services))
        .route("/v1/services/{namespace}/{name}", get(service))
        .route("/v1/policies", get(policies))
        .route("/v1/policies/{namespace}/{name}", get(policy))
        .route("/v1/backends", get(backends))
        .route("/v1/connections", get(connections))
        .route("/v1/explain", get(explain))
        .route("/v1/events", get(events))
        .fallback(async || {
            refusal(StatusCode::NOT_FOUND, "there is no such path", "docs/api.md lists the paths of this API")
        })
        .with_state(owner.clone())
        .merge(probes::health(owner.clone()))
        .merge(probes::metrics(owner))
}

/// The owner's answer to one question.
pub(super) async fn ask<T>(owner: &Queries, question: impl FnOnce(Reply<T>) -> Query) -> Result<T, Unavailable> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        owner.send(question(reply)).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten().ok_or(Unavailable)
}

/// The owner of the state ended, or did not answer in time.
pub(super) struct Unavailable;

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "the agent is starting, stopping or stuck",
            "try again; if it stays so, look at the agent's log",
        )
    }
}

fn refusal(status: StatusCode, message: impl Into<String>, action: impl Into<String>) -> Response {
    (status, Json(Failure { message: message.into(), action: action.into() })).into_response()
}

fn json<T: Serialize>(answer: Result<T, Unavailable>) -> Result<Json<T>, Unavailable> {
    answer.map(Json)
}

/// `?namespace=`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeParameters {
    namespace: Option<String>,
}

impl From<ScopeParameters> for Scope {
    fn from(parameters: ScopeParameters) -> Self {
        Self { namespace: parameters.namespace }
    }
}

async fn services(State(owner): State<Queries>, Parameters(scope): Parameters<ScopeParameters>) -> impl IntoResponse {
    json(ask(&owner, |reply| Query::Services(scope.into(), reply)).await)
}

async fn policies(State(owner): State<Queries>, Parameters(scope): Parameters<ScopeParameters>) -> impl IntoResponse {
    json(ask(&owner, |reply| Query::Policies(scope.into(), reply)).await)
}

async fn policy(
    State(owner): State<Queries>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Response, Unavailable> {
    let wanted = (namespace.clone(), name.clone());
    let found = ask(&owner, |reply| Query::Policy(wanted.0, wanted.1, reply)).await?;
    if found.is_empty() {
        let message = format!("the agent knows no policy {namespace}/{name}");
        return Ok(refusal(StatusCode::NOT_FOUND, message, "list what it knows: mesh policy list -A"));
    }
    Ok(Json(found).into_response())
}

async fn backends(State(owner): State<Queries>, Parameters(scope): Parameters<ScopeParameters>) -> impl IntoResponse {
    json(ask(&owner, |reply| Query::Backends(scope.into(), reply)).await)
}

async fn connections(
    State(owner): State<Queries>,
    Parameters(scope): Parameters<ScopeParameters>,
) -> impl IntoResponse {
    json(ask(&owner, |reply| Query::Connections(scope.into(), reply)).await)
}

async fn service(
    State(owner): State<Queries>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Response, Unavailable> {
    let wanted = (namespace.clone(), name.clone());
    let found = ask(&owner, |reply| Query::Service(wanted.0, wanted.1, reply)).await?;
    Ok(found.map_or_else(
        || {
            refusal(
                StatusCode::NOT_FOUND,
                format!("the agent knows no Service {namespace}/{name}"),
                "list what it knows: mesh service list -A; what it could not read: mesh status",
            )
        },
        |detail| Json(detail).into_response(),
    ))
}

/// `?from=&protocol=&address=&port=`, or `?from=&service=namespace/name&port=`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainParameters {
    from: Option<String>,
    protocol: Option<String>,
    address: Option<String>,
    port: Option<String>,
    service: Option<String>,
}

impl TryFrom<ExplainParameters> for ExplainQuery {
    type Error = String;

    fn try_from(parameters: ExplainParameters) -> Result<Self, String> {
        let ExplainParameters { from, protocol, address, port, service } = parameters;
        let target = match (service, address) {
            (Some(service), None) => {
                let (namespace, name) =
                    service.split_once('/').ok_or_else(|| format!("service={service}: expected namespace/name"))?;
                ExplainTarget::Service { namespace: namespace.to_owned(), name: name.to_owned(), port }
            }
            (None, Some(address)) => ExplainTarget::Address {
                protocol: match protocol.as_deref() {
                    None | Some("tcp" | "TCP") => Protocol::Tcp,
                    Some("udp" | "UDP") => Protocol::Udp,
                    Some(other) => return Err(format!("protocol={other}: expected tcp or udp")),
                },
                address: address.parse::<IpAddr>().map_err(|error| format!("address={address}: {error}"))?,
                port: port
                    .as_deref()
                    .and_then(|port| port.parse().ok())
                    .filter(|port| *port != 0)
                    .ok_or("port: expected 1 to 65535")?,
            },
            _ => return Err("give either address or service".to_owned()),
        };
        Ok(Self { from, target })
    }
}

async fn explain(
    State(owner): State<Queries>,
    Parameters(parameters): Parameters<ExplainParameters>,
) -> Result<Response, Unavailable> {
    let question = match ExplainQuery::try_from(parameters) {
        Ok(question) => question,
        Err(message) => {
            return Ok(refusal(
                StatusCode::BAD_REQUEST,
                message,
                "ask as /v1/explain?protocol=tcp&address=10.96.0.10&port=80",
            ));
        }
    };
    Ok(match ask(&owner, |reply| Query::Explain(question, reply)).await? {
        Ok(explanation) => Json(explanation).into_response(),
        Err(failure) => (StatusCode::NOT_FOUND, Json(failure)).into_response(),
    })
}

/// `?follow=`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventParameters {
    #[serde(default)]
    follow: bool,
}

/// JSON lines: the remembered events, and, with `follow`, those to come.
async fn events(
    State(owner): State<Queries>,
    Parameters(parameters): Parameters<EventParameters>,
) -> Result<Response, Unavailable> {
    let EventFeed { recent, live } = ask(&owner, Query::Events).await?;
    let mut first = Vec::new();
    for event in &recent {
        first.extend_from_slice(&line(event));
    }
    let first = Some(Bytes::from(first));
    let live = parameters.follow.then_some(live);
    let body = stream::unfold((first, live), async |(first, live)| match (first, live) {
        (Some(first), live) => Some((Ok::<_, io::Error>(first), (None, live))),
        (None, None) => None,
        (None, Some(mut live)) => loop {
            match live.recv().await {
                Ok(event) => break Some((Ok(line(&event)), (None, Some(live)))),
                // A reader that is too slow misses events; samples are no ledger.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => break None,
            }
        },
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response())
}

fn line(event: &Arc<Event>) -> Bytes {
    let mut line = serde_json::to_vec(event.as_ref()).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
