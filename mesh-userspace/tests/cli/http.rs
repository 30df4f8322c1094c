//! The API as another program meets it: paths, status codes, bodies.

use crate::agent::Agent;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

/// Status code and body of `GET path` on the agent's socket.
pub fn get(agent: &Agent, path: &str) -> (u16, String) {
    speak(UnixStream::connect(agent.socket()).unwrap(), path)
}

/// Status code and body of `GET path`, spoken by hand.
pub fn speak(mut stream: impl Read + Write, path: &str) -> (u16, String) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn readiness_follows_the_data_path_and_not_the_findings() {
    let agent = Agent::new();
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(&agent, path), (200, "ok\n".to_owned()), "{path}");
    }
    assert_eq!(get(&agent, "/healthz").0, 200);
    agent.change(|state| crate::agent::degrade(&mut state.status));
    assert_eq!(get(&agent, "/readyz").0, 200);
    agent.change(|state| state.status.programs[0].in_force = false);
    assert_eq!(get(&agent, "/readyz"), (503, "not in force: connect4\n".to_owned()));
    assert_eq!(get(&agent, "/livez").0, 200);
    agent.change(|state| state.status.health = mesh_userspace::api::types::Health::Starting);
    let (code, body) = get(&agent, "/readyz");
    assert!(code == 503 && body.starts_with("starting"), "{body}");
    assert_eq!(get(&agent, "/healthz").0, 503);
}

#[test]
fn bad_questions_are_told_apart_from_missing_things() {
    let agent = Agent::new();
    for path in [
        "/v1/explain",
        "/v1/explain?address=10.0.0.1",
        "/v1/explain?address=10.0.0.1&port=0",
        "/v1/explain?address=10.0.0.1&port=70000",
        "/v1/explain?address=x&port=80",
        "/v1/explain?address=10.0.0.1&port=80&protocol=sctp",
        "/v1/explain?address=10.0.0.1&port=80&service=a/b",
        "/v1/explain?service=b",
        "/v1/services?namespce=shop",
        "/v1/events?follow=perhaps",
    ] {
        assert_eq!(get(&agent, path).0, 400, "{path}");
    }
    for path in ["/", "/v2/status", "/v1/services/a/b/c", "/v1/services/a/b"] {
        assert_eq!(get(&agent, path).0, 404, "{path}");
    }
}

#[test]
fn only_root_may_ask() {
    let mode = std::fs::metadata(Agent::new().socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_second_agent_on_the_socket_is_refused_and_the_place_of_a_killed_one_is_taken() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let agent = Agent::new();
    let socket = agent.socket();
    let refused = runtime.block_on(async { mesh_userspace::api::server::bind(&socket) }).unwrap_err();
    assert!(refused.to_string().contains("another agent answers"), "{refused}");
    assert_eq!(get(&agent, "/livez").0, 200);
    let folder = agent.kill();
    assert!(socket.exists());
    assert_eq!(get(&Agent::again(folder), "/livez").0, 200);
}

#[test]
fn an_owner_that_is_gone_is_said_to_be() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = mesh_userspace::api::server::bind(&socket).unwrap();
        let (queries, incoming) = tokio::sync::mpsc::channel(1);
        drop(incoming);
        tokio::spawn(mesh_userspace::api::server::serve(listener, queries, std::future::pending()));
        let client = mesh_userspace::api::Client::new(&socket);
        let error = client.get::<serde_json::Value>("/v1/status", &[]).await.unwrap_err();
        assert!(error.to_string().contains("starting, stopping or stuck"), "{error}");
    });
}
