//! Exit codes, and messages that say what to do.

use crate::agent::{Agent, mesh, stderr, stdout};
use insta::assert_snapshot;

#[test]
fn usage_errors_exit_with_2() {
    for line in ["", "stats", "status -o xml", "explain tcp", "explain sctp 10.0.0.1:80", "service list -n a -A"] {
        assert_eq!(mesh(line).status.code(), Some(2), "mesh {line}");
    }
}

#[test]
fn without_an_agent_every_verb_that_asks_exits_with_3_and_says_how_to_start_one() {
    let verbs = [
        "status",
        "service list",
        "service show a/b",
        "backend list",
        "connection list",
        "events",
        "explain tcp 10.0.0.1:80",
        "service list -w",
    ];
    for verb in verbs {
        let output = mesh(&format!("{verb} --socket /nonexistent/mesh.sock"));
        assert_eq!((output.status.code(), stdout(&output)), (Some(3), ""), "mesh {verb}");
    }
    assert_snapshot!(stderr(&mesh("status --socket /nonexistent/mesh.sock")), @"error: no agent answers on /nonexistent/mesh.sock: No such file or directory (os error 2); start it with `mesh agent --socket /nonexistent/mesh.sock --manifests DIR --node-name NAME`, or name another agent's socket with --socket");
}

#[test]
fn a_killed_agents_socket_is_no_agent() {
    let folder = Agent::new().kill();
    let output = mesh(&format!("status --socket {}/mesh.sock", folder.path().display()));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn what_is_not_there_exits_with_4() {
    let agent = Agent::new();
    let output = agent.mesh("service show shop/nothing");
    assert_eq!(output.status.code(), Some(4));
    assert_snapshot!(stderr(&output), @"error: the agent knows no Service shop/nothing; list what it knows: mesh service list -A; what it could not read: mesh status");
    assert_eq!(agent.mesh("explain service shop/nothing:80").status.code(), Some(4));
}

#[test]
fn a_bad_target_is_answered_with_what_was_probably_meant() {
    let agent = Agent::new();
    let complaint = |target: &str| {
        let output = agent.mesh(&format!("explain {target}"));
        assert_eq!(output.status.code(), Some(2), "{target}");
        stderr(&output).lines().next().unwrap().to_owned()
    };
    let targets = [
        "tcp 10.96.0.10",
        "tcp fd00::1",
        "tcp 10.96.0.10:70000",
        "udp [fd00::1]:0",
        "tcp shop/cart:80",
        "tcp ::",
        "service shop/",
        "service a/b/c",
    ];
    let complaints: Vec<_> = targets.into_iter().map(complaint).collect();
    assert_snapshot!(complaints.join("\n"), @r#"
    error: "10.96.0.10" is no target; a port is missing, as in: mesh explain tcp '10.96.0.10:80'
    error: "fd00::1" is no target; a port is missing, as in: mesh explain tcp '[fd00::1]:80'
    error: "10.96.0.10:70000" is no target; "70000" is no port; ports are 1 to 65535
    error: "[fd00::1]:0" is no target; "0" is no port; ports are 1 to 65535
    error: "shop/cart:80" is no target; for a Service by name, write: mesh explain service shop/cart:80
    error: "::" is no target; a port is missing, as in: mesh explain tcp '[::]:80'
    error: "shop/" names no Service; write NAMESPACE/NAME or NAMESPACE/NAME:PORT
    error: "a/b/c" names no Service; write NAMESPACE/NAME or NAMESPACE/NAME:PORT
    "#);
}

#[test]
fn colours_are_for_terminals() {
    let output = Agent::new().mesh("service list");
    assert!(!stdout(&output).contains('\x1b'));
}

#[test]
fn help_teaches_the_exit_codes_and_completions_and_pages_are_made() {
    let help = mesh("--help");
    assert!(stdout(&help).contains("Exit codes:") && stdout(&help).contains("Examples:"));
    for shell in ["bash", "zsh", "fish"] {
        let output = mesh(&format!("completions {shell}"));
        assert!(output.status.success() && stdout(&output).contains("explain"), "{shell}");
    }
    assert!(stdout(&mesh("man")).contains(".TH mesh"));
    let folder = tempfile::tempdir().unwrap();
    assert!(mesh(&format!("man {}/pages", folder.path().display())).status.success());
    for page in ["mesh.1", "mesh-explain.1", "mesh-service-list.1"] {
        assert!(folder.path().join("pages").join(page).exists(), "{page}");
    }
}
