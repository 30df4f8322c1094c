//! The `healthCheckNodePort`s of Services, answered as kube-proxy does: 200 while this node has ready endpoints, else 503.

use super::types::HealthCheck;
use crate::state::HealthChecks;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long before a port that another program has is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The header by which load balancers that know it weigh nodes (kubernetes/kubernetes#118999).
const WEIGHT: &str = "x-load-balancing-endpoint-weight";

/// Answers at every port that `checks` has, for as long as it has it and until the sender is gone.
pub async fn serve(mut checks: watch::Receiver<HealthChecks>) {
    let mut open: BTreeMap<u16, JoinHandle<io::Result<()>>> = BTreeMap::new();
    let mut refused: BTreeMap<u16, String> = BTreeMap::new();
    loop {
        let wanted: Vec<u16> = checks.borrow_and_update().keys().copied().collect();
        open.retain(|port, task| {
            let stays = wanted.contains(port) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        refused.retain(|port, _| wanted.contains(port));
        for port in wanted {
            if open.contains_key(&port) {
                continue;
            }
            match listen(port).await {
                Ok(listener) => {
                    refused.remove(&port);
                    let routes = Router::new().fallback(answer).with_state((port, checks.clone()));
                    open.insert(port, tokio::spawn(axum::serve(listener, routes).into_future()));
                }
                Err(error) => {
                    let why = error.to_string();
                    if refused.insert(port, why.clone()).as_ref() != Some(&why) {
                        tracing::warn!(port, error = why, "a healthCheckNodePort cannot be answered; trying again");
                    }
                }
            }
        }
        let again = tokio::time::sleep(AGAIN);
        tokio::select! {
            changed = checks.changed() => if changed.is_err() { break },
            () = again, if !refused.is_empty() => {}
        }
    }
    for task in open.into_values() {
        task.abort();
    }
}

/// Every address of both families; of IPv4 only where the kernel has no IPv6.
async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        bound => bound,
    }
}

/// At any path, as kube-proxy does.
async fn answer(State((port, checks)): State<(u16, watch::Receiver<HealthChecks>)>) -> Response {
    let Some((service, endpoints)) = checks.borrow().get(&port).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let code = if endpoints > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let check = HealthCheck {
        service: super::types::ServiceName { namespace: service.namespace.to_string(), name: service.name.to_string() },
        local_endpoints: endpoints as u64,
        service_proxy_healthy: true,
    };
    (code, [(WEIGHT, endpoints.to_string())], Json(check)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceKey;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Instant;

    /// The status line, the headers and the body.
    fn get(port: u16) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.write_all(b"GET /anything HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut said = String::new();
        stream.read_to_string(&mut said).map(|_| said)
    }

    fn soon(port: u16, wanted: impl Fn(&io::Result<String>) -> bool) -> io::Result<String> {
        let begun = Instant::now();
        loop {
            let seen = get(port);
            if wanted(&seen) || begun.elapsed() > Duration::from_secs(10) {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn s17_a_port_says_whether_the_node_has_endpoints_and_goes_with_its_service() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let checks = |endpoints| HealthChecks::from([(port, (ServiceKey::new("shop", "web"), endpoints))]);
        let (tell, told) = watch::channel(checks(2));
        runtime.spawn(serve(told));
        let said = soon(port, Result::is_ok).unwrap();
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        assert!(said.contains("x-load-balancing-endpoint-weight: 2"), "{said}");
        let body = said.split("\r\n\r\n").nth(1).unwrap();
        let expected = r#"{"service":{"namespace":"shop","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}"#;
        assert_eq!(body, expected);
        tell.send(checks(0)).unwrap();
        let said = get(port).unwrap();
        assert!(said.starts_with("HTTP/1.1 503 ") && said.contains(r#""localEndpoints":0"#), "{said}");
        tell.send(HealthChecks::new()).unwrap();
        soon(port, Result::is_err).unwrap_err();
    }
}
