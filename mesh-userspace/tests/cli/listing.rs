//! What the listings print.

use crate::agent::{Agent, degrade, stderr, stdout};
use insta::assert_snapshot;

#[test]
fn services_are_listed_as_kubectl_lists() {
    let agent = Agent::new();
    assert_snapshot!(stdout(&agent.mesh("service list")), @r"
    NAMESPACE   NAME   CLUSTER-IP              PORT(S)         BACKENDS   ACTIVE   LIMIT   REFUSED   STATE
    data        db     -                       -               0/0        0        none    0         ignored
    shop        cart   10.96.0.10,fd00:96::a   80/TCP,53/UDP   2/3        10       10      40        served
    ");
    assert_snapshot!(stdout(&agent.mesh("service list -n shop -o wide")), @r"
    NAMESPACE   NAME   CLUSTER-IP              PORT(S)         BACKENDS   ACTIVE   LIMIT   REFUSED   STATE    EXTERNAL-IP   OPENED   PER-BACKEND   ALGORITHM   AFFINITY            POLICY   MESSAGE
    shop        cart   10.96.0.10,fd00:96::a   80/TCP,53/UDP   2/3        10       10      40        served   203.0.113.9   1200     6             Random      ClientIP (10800s)   limits   -
    ");
}

#[test]
fn one_service_is_described() {
    assert_snapshot!(stdout(&Agent::new().mesh("service show shop/cart")), @r"
    Name:              cart
    Namespace:         shop
    State:             served
    Addresses:         10.96.0.10,fd00:96::a
    External:          203.0.113.9
    Ports:             http 80/TCP,dns 53/UDP
    Algorithm:         Random
    Affinity:          ClientIP (10800s)
    Policy:            TrafficPolicy limits
    Limits:            10 connections, 6 to each backend
    Drain:             End after 30 s
    Lifetime:          60 s without data, 3600 s in all
    Internal traffic:  Cluster
    Distribution:      PreferSameZone
    Connections:       10 active, 1200 opened
    Refused:           service-limit 40
    Returned:          1 ejected backend by a health check
    Ended:             idle-timeout 3
    Endpoints:
      PORT     BACKEND              STATE      ACTIVE   LIMIT   WHY
      80/TCP   10.244.1.5:8080      eligible   6        6       ready
      80/TCP   10.244.1.6:8080      excluded   0        6       not ready
      -        [fd00:244::7]:8080   gone       4        none    its endpoint was removed; its connections go on
    Findings:
      rejected shop/cart.yaml (document 2): Service shop/cart: spec.ports[0].port: 70000 is no port; use 1 to 65535
    ");
}

#[test]
fn policies_are_listed_and_described() {
    let agent = Agent::new();
    assert_snapshot!(stdout(&agent.mesh("policy list -o wide")), @r"
    NAMESPACE   NAME     KIND              IN-FORCE   LIMIT   PER-BACKEND   ALGORITHM    FINDINGS   SERVICES            FILE
    shop        limits   TrafficPolicy     1/1        10      6             -            0          shop/cart           shop.yaml
    shop        turns    DestinationRule   0/1        none    none          RoundRobin   1          *.local,shop/cart   -
    ");
    assert_snapshot!(stdout(&agent.mesh("policy show shop/turns")), @r"
    Name:        turns
    Namespace:   shop
    Kind:        DestinationRule
    Hosts:       *.local
    Services:    shop/cart
    In force:    <none>
    Limit:       none
    Per backend: none
    Algorithm:   RoundRobin
    Port 80:     Random, 60 s without data

    SEVERITY      FIELD                         WHAT                      DO
    unsupported   spec.trafficPolicy.tls.mode   mesh does not speak TLS   remove it
    ");
    assert_eq!(agent.mesh("policy show shop/none").status.code(), Some(4));
}

#[test]
fn backends_are_listed_with_the_verdict() {
    let agent = Agent::new();
    assert_snapshot!(stdout(&agent.mesh("backend list")), @r"
    NAMESPACE   SERVICE   PORT     BACKEND              STATE      ACTIVE   LIMIT   WHY
    shop        cart      80/TCP   10.244.1.5:8080      eligible   6        6       ready
    shop        cart      80/TCP   10.244.1.6:8080      excluded   0        6       not ready
    shop        cart      -        [fd00:244::7]:8080   gone       4        none    its endpoint was removed; its connections go on
    ");
    assert_snapshot!(stdout(&agent.mesh("backend list -o wide")), @r"
    NAMESPACE   SERVICE   PORT     BACKEND              STATE      ACTIVE   LIMIT   WHY                                               WEIGHT   INBOUND   INBOUND-LIMIT   INBOUND-REFUSED   POD      NODE     ZONE
    shop        cart      80/TCP   10.244.1.5:8080      eligible   6        6       ready                                             1        9         9               12                cart-1   node-1   a
    shop        cart      80/TCP   10.244.1.6:8080      excluded   0        6       not ready                                         -        -         -               -                 cart-2   node-1   a
    shop        cart      -        [fd00:244::7]:8080   gone       4        none    its endpoint was removed; its connections go on   -        -         -               -                 -        -        -
    ");
}

#[test]
fn connections_and_events_are_listed() {
    let agent = Agent::new();
    assert_snapshot!(stdout(&agent.mesh("connection list")), @r"
    NAMESPACE   SERVICE   PROTOCOL   FRONTEND        BACKEND           AGE
    shop        cart      TCP        10.96.0.10:80   10.244.1.5:8080   15d
    ");
    assert_snapshot!(stdout(&agent.mesh("events")), @r"
    TIME           REASON          SERVICE                FRONTEND                 BACKEND              COMMAND           PID
    12:00:00.250   selected        shop/cart              10.96.0.10:80/TCP        10.244.1.5:8080      curl              321
    12:00:00.250   service-limit   shop/cart              10.96.0.10:80/TCP        -                    python3           321
    ");
    assert_snapshot!(stdout(&agent.mesh("events --refused -o json")), @r#"{"at":"2026-03-01T12:00:00.25Z","reason":"service-limit","refused":true,"service":{"namespace":"shop","name":"cart"},"frontend":"10.96.0.10:80","protocol":"TCP","backend":null,"pid":321,"command":"python3","netns":5,"cgroup":77,"cookie":99}"#);
}

#[test]
fn nothing_to_list_is_said_on_stderr_and_is_no_failure() {
    let output = Agent::new().mesh("service list -n empty");
    assert_eq!((output.status.code(), stdout(&output), stderr(&output)), (Some(0), "", "No Services found.\n"));
    let output = Agent::new().mesh("service list -n empty -o json");
    assert_eq!((output.status.code(), stdout(&output), stderr(&output)), (Some(0), "[]\n", ""));
}

#[test]
fn status_of_a_healthy_agent() {
    let output = Agent::new().mesh("status");
    assert_eq!(output.status.code(), Some(0));
    assert_snapshot!(stdout(&output), @r"
    Node:         node-1 (zone a)
    Health:       ok
    Agent:        mesh 0.1.0 (ABI 1), pid 4711, up 20d
    Data path:    2 of 2 programs in force on /sys/fs/cgroup, pins /sys/fs/bpf/mesh
    Fullest map:  SLOTS 500000 of 524288 (95%)
    Services:     2 served, 1 without a backend, 1 left alone
    Sync:         first in 250.0 ms, then 12 changes in 1.5 ms each, 3 failures, 2 Services tried again
    Connections:  5 active, 1234 opened, 2 spilled, 7 kept by flow, 3 kept by affinity
    Refusals:     no-backend 3, service-limit 40
    Inbound:      2 of 3 backends limited at 1 interface (tcx), 7 connections; inbound-limit 12
    Events:       90 read, 4 not written (rate limit)
    Audit:        5 connections recounted 9d ago: all counts agree, 1 slot given back

    Sources:
      SOURCE      SYNCED   LAST-CHANGE   OBJECTS                     PASSED-OVER    ERROR
      /etc/mesh   yes      10d ago       EndpointSlice 4,Service 3   Deployment 2   -
    ");
}

#[test]
fn status_of_an_agent_that_needs_attention() {
    let agent = Agent::new();
    agent.change(|state| degrade(&mut state.status));
    let output = agent.mesh("status -o wide");
    assert_eq!(output.status.code(), Some(5));
    assert_snapshot!(stdout(&output), @r"
    Node:         node-1 (zone a)
    Health:       degraded
    Agent:        mesh 0.1.0 (ABI 1), pid 4711, up 20d
    Data path:    2 of 2 programs in force on /sys/fs/cgroup, pins /sys/fs/bpf/mesh
    Fullest map:  SLOTS 500000 of 524288 (95%)
    Services:     2 served, 1 without a backend, 1 waiting, 1 left alone
    Sync:         first in 250.0 ms, then 12 changes in 1.5 ms each, 3 failures, 2 Services tried again
    Connections:  5 active, 1234 opened, 2 spilled, 7 kept by flow, 3 kept by affinity
    Refusals:     no-backend 3, service-limit 40
    Inbound:      2 of 3 backends limited at 1 interface (tcx), 7 connections; inbound-limit 12
    Events:       90 read, 4 not written (rate limit)
    Audit:        5 connections recounted 9d ago: all counts agree, 1 slot given back

    Problems:
      ! 1 object is rejected: see the findings

    Findings:
      rejected shop/cart.yaml (document 2): Service shop/cart: spec.ports[0].port: 70000 is no port; use 1 to 65535

    Waiting:
      SERVICE     STATE    ATTEMPTS   RETRY    MESSAGE
      shop/cart   failed   3          in 30d   BACKENDS is full

    Sources:
      SOURCE      SYNCED   FILES   DOCUMENTS   LAST-CHANGE   OBJECTS                     PASSED-OVER    ERROR
      /etc/mesh   yes      2       9           10d ago       EndpointSlice 4,Service 3   Deployment 2   -

    Maps:
      MAP         USED     SIZE     FULL
      FRONTENDS   3        131072   0%
      SLOTS       500000   524288   95%

    Programs:
      HOOK           PROGRAM   ATTACHED   IN-FORCE
      connect4       12        yes        yes
      sock_release   13        yes        yes
    ");
    let output = agent.mesh("status -o json");
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(5), "degraded: 1 object is rejected: see the findings\n")
    );
}

#[test]
fn an_explanation_gives_the_answer_first() {
    let agent = Agent::new();
    assert_snapshot!(stdout(&agent.mesh("explain --from shop/web-1 tcp 10.96.0.10:80")), @r"
    10.96.0.10:80/TCP: balanced - goes to one of 3 backends

    Client:     shop/web-1 (10.244.1.9, node node-1, zone a)
    Decided on: node node-1, zone a, region eu
    Service:    shop/cart
    Ports:      http 80/TCP
    Rule:       Random among endpoints hinted for this node's zone (trafficDistribution: PreferSameZone); 4 of 10 connections open, at most 6 to each backend (TrafficPolicy limits)
    Likely:     any of the backends that are in, each with the same probability
    Note:       the client is on this node

    BACKEND           IN    NEXT    ACTIVE   WHY         POD
    10.244.1.5:8080   in    33.3%   2        ready       cart-1
    10.244.1.6:8080   out   -       2        not ready   cart-1
    ");
    assert_snapshot!(stdout(&agent.mesh("explain tcp 10.96.0.10:81")), @r"
    10.96.0.10:81/TCP: refused - the address is a Service's, the port is not

    Decided on: node node-1, zone a, region eu
    Service:    shop/cart
    Ports:      http 80/TCP
    ");
    assert_snapshot!(stdout(&agent.mesh("explain udp [fd00::1]:53")), @r"
    192.0.2.1:443/TCP: untouched - not a Service's address: the connection goes where it is addressed

    Decided on: node node-1
    ");
}

#[test]
fn json_and_yaml_say_the_same() {
    let agent = Agent::new();
    for line in ["status", "service list", "service show shop/cart", "backend list", "connection list"] {
        let json = agent.mesh(&format!("{line} -o json"));
        let yaml = agent.mesh(&format!("{line} -o yaml"));
        let json: serde_json::Value = serde_json::from_str(stdout(&json)).unwrap();
        let yaml: serde_json::Value = serde_saphyr::from_str(stdout(&yaml)).unwrap();
        // The canned answers are made anew for each question: times differ by the moment.
        assert_eq!(without_times(json), without_times(yaml), "{line}");
    }
}

fn without_times(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(key, _)| !["since", "lastChange", "at", "opened"].contains(&key.as_str()))
                .map(|(key, value)| (key, without_times(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_times).collect()),
        other => other,
    }
}
