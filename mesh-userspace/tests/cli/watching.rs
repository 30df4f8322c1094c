//! `-w`: what changes is printed, row by row, over a restart of the agent too.

use crate::agent::{Agent, spawn};
use crate::answers;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout};
use std::sync::Arc;

/// A watching `mesh`, ended when dropped.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn new(agent: &Agent, line: &str) -> Self {
        let mut child = spawn(&agent.socket(), line);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watched_table_prints_what_changes() {
    let agent = Agent::new();
    let mut watch = Watch::new(&agent, "service list -w");
    assert!(watch.line().starts_with("NAMESPACE"));
    assert!(watch.line().starts_with("data        db"));
    assert!(watch.line().starts_with("shop        cart"));
    agent.change(|state| state.services[1].refused = 41);
    let line = watch.line();
    assert!(line.starts_with("shop        cart") && line.contains("   41 "), "{line}");
    agent.change(|state| drop(state.services.remove(0)));
    let line = watch.line();
    assert!(line.starts_with("(removed) data   db"), "{line}");
}

#[test]
fn a_watched_list_as_json_is_a_line_for_each_change() {
    let agent = Agent::new();
    let mut watch = Watch::new(&agent, "service list -n shop -w -o json");
    let mut change = || {
        let change: serde_json::Value = serde_json::from_str(&watch.line()).unwrap();
        (change["type"].as_str().unwrap().to_owned(), change["object"]["refused"].as_u64().unwrap())
    };
    assert_eq!(change(), ("ADDED".to_owned(), 40));
    agent.change(|state| state.services[1].refused = 41);
    assert_eq!(change(), ("MODIFIED".to_owned(), 41));
    agent.change(|state| state.services.clear());
    assert_eq!(change(), ("DELETED".to_owned(), 41));
}

#[test]
fn a_watch_outlives_the_agent() {
    let agent = Agent::new();
    let mut watch = Watch::new(&agent, "service list -n shop -w");
    watch.line();
    watch.line();
    let mut complaints = BufReader::new(watch.child.stderr.take().unwrap()).lines();
    let folder = agent.kill();
    assert!(complaints.next().unwrap().unwrap().contains("is away; waiting for it"));
    let agent = Agent::again(folder);
    agent.change(|state| state.services[1].refused = 50);
    // The canned state starts anew: the watch may see it before the change, which changes nothing for it.
    let line = watch.line();
    assert!(line.contains("   50 "), "{line}");
}

#[test]
fn events_are_followed_as_they_come() {
    let agent = Agent::new();
    let mut watch = Watch::new(&agent, "events -w");
    assert!(watch.line().starts_with("TIME"));
    watch.line();
    watch.line();
    let mut event = answers::events().remove(0);
    event.command = "later".into();
    // The remembered events are printed, so the stream is subscribed.
    agent.change(|state| drop(state.events.send(Arc::new(event))));
    assert!(watch.line().contains("later"));
    let folder = agent.kill();
    let _agent = Agent::again(folder);
    // The new agent's remembered events are printed, too; the canned ones are two.
    assert!(watch.line().contains("curl"));
    assert!(watch.line().contains("python3"));
}
