//! The canned answers: one of each type, with every optional key present somewhere.

use jiff::{Timestamp, ToSpan};
use mesh_common::reason::Reason;
use mesh_userspace::api::query::Vitals;
use mesh_userspace::api::types::{
    Audit, Backend, BackendCounts, BackendLoad, BackendState, Candidate, Client, Connection, Connections, Endings,
    Event, EventCounts, Explanation, Finding, Health, Healthz, InboundCounts, InboundStatus, Load, MapUsage,
    ObjectName, Outcome, Policy, PolicyDetail, PortPolicy, PortTable, Program, Rule, Service, ServiceCounts,
    ServiceDetail, ServiceName, ServicePort, ServiceState, ServiceTable, Source, Status, Synchronisation,
    TrafficLimits, Waiting, WaitingState,
};
use mesh_userspace::metrics::{Figures, ServiceFigures};
use mesh_userspace::model::ServiceKey;
use prometheus_client::metrics::histogram::Histogram;
use std::collections::BTreeMap;

/// Twenty days ago, so that ages print the same however slow the test is.
fn days_ago(days: i64) -> Timestamp {
    Timestamp::now().checked_sub((days * 24).hours().minutes(1)).unwrap()
}

fn cart() -> ServiceName {
    ServiceName { namespace: "shop".into(), name: "cart".into() }
}

fn port() -> ServicePort {
    ServicePort { name: "http".into(), protocol: "TCP".into(), port: 80, node_port: None }
}

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn endings() -> Endings {
    Endings { drain: Some("End after 30 s".into()), idle_timeout_seconds: Some(60), max_duration_seconds: Some(3_600) }
}

pub fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        abi: 1,
        node: "node-1".into(),
        zone: "a".into(),
        pid: 4711,
        since: days_ago(20),
        node_eligible: true,
        health: Health::Ok,
        problems: vec![],
        cgroup: "/sys/fs/cgroup".into(),
        pins: "/sys/fs/bpf/mesh".into(),
        sources: vec![Source {
            name: "/etc/mesh".into(),
            synced: true,
            last_change: Some(days_ago(10)),
            files: 2,
            documents: 9,
            objects: counts([("EndpointSlice", 4), ("Service", 3)]),
            passed_over: counts([("Deployment", 2)]),
            error: None,
        }],
        findings: vec![],
        maps: vec![
            MapUsage { name: "FRONTENDS".into(), used: 3, size: 131_072 },
            MapUsage { name: "SLOTS".into(), used: 500_000, size: 524_288 },
        ],
        programs: vec![
            Program { hook: "connect4".into(), program_id: 12, attached: true, in_force: true },
            Program { hook: "sock_release".into(), program_id: 13, attached: true, in_force: true },
        ],
        services: ServiceCounts { served: 2, without_backends: 1, ignored: 1, waiting: 0 },
        synchronisation: Synchronisation {
            last: Some(days_ago(10)),
            first_seconds: Some(0.25),
            changes: 12,
            mean_seconds: Some(0.001_5),
            failures: 3,
            retries: 2,
        },
        left_alone: vec![],
        waiting: vec![],
        connections: Connections { active: 5, opened: 1_234, spilled: 2, flow_kept: 7, affinity_kept: 3 },
        refusals: counts([("backend-limit", 0), ("no-backend", 3), ("service-limit", 40)]),
        inbound: InboundStatus {
            attached_by: Some("tcx".to_owned()),
            in_force: 2,
            interfaces: 1,
            missing: vec!["10.244.0.9:8080/TCP".into()],
            left_out: 0,
            connections: 7,
            given_back: 1,
            drifted: 0,
            repaired: 0,
            packets: counts([("inbound-limit", 12), ("tcp-syn-fin", 0)]),
        },
        events: EventCounts { read: 90, lost: 4 },
        audit: Some(Audit { at: days_ago(9), connections: 5, given_back: 1, drifted: 0, repaired: 0 }),
    }
}

pub fn finding() -> Finding {
    Finding {
        severity: "rejected".into(),
        file: Some("shop/cart.yaml".into()),
        document: Some(2),
        object: Some(ObjectName { kind: "Service".into(), namespace: "shop".into(), name: "cart".into() }),
        field: "spec.ports[0].port".into(),
        message: "70000 is no port".into(),
        action: "use 1 to 65535".into(),
    }
}

pub fn waiting() -> Waiting {
    Waiting {
        service: cart(),
        state: WaitingState::Failed,
        message: "BACKENDS is full".into(),
        attempts: 3,
        next_retry: Timestamp::now().checked_add((24 * 30).hours().minutes(5)).ok(),
    }
}

pub fn policies() -> Vec<PolicyDetail> {
    let limits = Policy {
        kind: "TrafficPolicy".into(),
        namespace: "shop".into(),
        name: "limits".into(),
        file: Some("shop.yaml".into()),
        wildcard: None,
        services: vec![cart()],
        in_force: vec![cart()],
        max_connections: Some(10),
        max_connections_per_backend: Some(6),
        traffic: TrafficLimits { max_connections_per_client: Some(5), ..TrafficLimits::default() },
        endings: endings(),
        algorithm: None,
        findings: 0,
    };
    let rule = Policy {
        kind: "DestinationRule".into(),
        name: "turns".into(),
        file: None,
        wildcard: Some("*.local".into()),
        in_force: vec![],
        max_connections: None,
        max_connections_per_backend: None,
        traffic: TrafficLimits::default(),
        endings: Endings::default(),
        algorithm: Some("RoundRobin".into()),
        findings: 1,
        ..limits.clone()
    };
    let tls = Finding {
        severity: "unsupported".into(),
        file: None,
        document: None,
        object: None,
        field: "spec.trafficPolicy.tls.mode".into(),
        message: "mesh does not speak TLS".into(),
        action: "remove it".into(),
    };
    let port = PortPolicy {
        port: 80,
        algorithm: Some("Random".into()),
        idle_timeout_seconds: Some(60),
        max_duration_seconds: None,
    };
    vec![
        PolicyDetail { policy: limits, port_policies: vec![], policy_findings: vec![] },
        PolicyDetail { policy: rule, port_policies: vec![port], policy_findings: vec![tls] },
    ]
}

pub fn services() -> Vec<Service> {
    let cart = Service {
        namespace: "shop".into(),
        name: "cart".into(),
        state: ServiceState::Served,
        message: String::new(),
        cluster_ips: vec!["10.96.0.10".parse().unwrap(), "fd00:96::a".parse().unwrap()],
        external_ips: vec!["203.0.113.9".parse().unwrap()],
        ports: vec![port(), ServicePort { name: "dns".into(), protocol: "UDP".into(), port: 53, node_port: None }],
        backends: BackendCounts { eligible: 2, listed: 3 },
        active: 10,
        opened: 1_200,
        refused: 40,
        max_connections: Some(10),
        max_connections_per_backend: Some(6),
        traffic: TrafficLimits::default(),
        endings: endings(),
        algorithm: "Random".into(),
        hash: None,
        affinity_timeout_seconds: Some(10_800),
        policy: Some("limits".into()),
        policy_kind: Some("TrafficPolicy".into()),
    };
    let headless = Service {
        namespace: "data".into(),
        name: "db".into(),
        state: ServiceState::Ignored,
        message: "headless: clients reach the endpoints themselves".into(),
        cluster_ips: vec![],
        external_ips: vec![],
        ports: vec![],
        backends: BackendCounts::default(),
        active: 0,
        opened: 0,
        refused: 0,
        max_connections: None,
        max_connections_per_backend: None,
        traffic: TrafficLimits::default(),
        endings: Endings::default(),
        algorithm: "Random".into(),
        hash: None,
        affinity_timeout_seconds: None,
        policy: None,
        policy_kind: None,
    };
    vec![headless, cart]
}

pub fn backends() -> Vec<Backend> {
    let backend = Backend {
        service: cart(),
        service_port: Some(port()),
        address: "10.244.1.5".parse().unwrap(),
        port: 8080,
        protocol: "TCP".into(),
        pod: "cart-1".into(),
        node: "node-1".into(),
        zone: "a".into(),
        state: BackendState::Eligible,
        why: "ready".into(),
        weight: 1,
        active: 6,
        max_connections: Some(6),
        inbound: Some(InboundCounts {
            active: 9,
            max_connections: Some(9),
            observe: false,
            opened: 120,
            refused: 12,
            reset: 1,
        }),
    };
    let excluded = Backend {
        address: "10.244.1.6".parse().unwrap(),
        pod: "cart-2".into(),
        state: BackendState::Excluded,
        why: "not ready".into(),
        weight: 0,
        active: 0,
        inbound: None,
        ..backend.clone()
    };
    let gone = Backend {
        service_port: None,
        address: "fd00:244::7".parse().unwrap(),
        pod: String::new(),
        node: String::new(),
        zone: String::new(),
        state: BackendState::Gone,
        why: "its endpoint was removed; its connections go on".into(),
        weight: 0,
        active: 4,
        max_connections: None,
        inbound: None,
        ..backend.clone()
    };
    vec![backend, excluded, gone]
}

pub fn detail() -> ServiceDetail {
    ServiceDetail {
        service: services().remove(1),
        internal_traffic_policy: "Cluster".into(),
        traffic_distribution: "PreferSameZone".into(),
        reasons: counts([("selected", 1_200), ("service-limit", 40), ("spilled", 2), ("no-backend", 0)]),
        returned: 1,
        ended: counts([("endpoint-removed", 0), ("idle-timeout", 3)]),
        endpoints: backends(),
        findings: vec![finding()],
    }
}

pub fn connections() -> Vec<Connection> {
    vec![Connection {
        cookie: 99,
        service: Some(cart()),
        frontend: "10.96.0.10:80".parse().unwrap(),
        backend: "10.244.1.5:8080".parse().unwrap(),
        protocol: "TCP".into(),
        netns: 5,
        opened: days_ago(15),
        confirmed: true,
    }]
}

pub fn events() -> Vec<Event> {
    let chosen = Event {
        at: "2026-03-01T12:00:00.25Z".parse().unwrap(),
        reason: "selected".into(),
        refused: false,
        service: Some(cart()),
        frontend: "10.96.0.10:80".parse().unwrap(),
        protocol: "TCP".into(),
        backend: Some("10.244.1.5:8080".parse().unwrap()),
        pid: 321,
        command: "curl".into(),
        netns: 5,
        cgroup: 77,
        cookie: 99,
    };
    let refused = Event {
        reason: "service-limit".into(),
        refused: true,
        backend: None,
        command: "python3".into(),
        ..chosen.clone()
    };
    vec![chosen, refused]
}

pub fn explanation() -> Explanation {
    let candidate = |address: &str, is_in, why: &str, probability| Candidate {
        address: address.parse().unwrap(),
        port: 8080,
        pod: "cart-1".into(),
        node: "node-1".into(),
        zone: "a".into(),
        region: String::new(),
        is_in,
        why: why.into(),
        weight: u32::from(is_in),
        active: 2,
        probability,
    };
    Explanation {
        target: "10.96.0.10:80".parse().unwrap(),
        protocol: "TCP".into(),
        client: Some(Client {
            asked: "shop/web-1".into(),
            address: Some("10.244.1.9".parse().unwrap()),
            pod: "shop/web-1".into(),
            node: "node-1".into(),
            zone: "a".into(),
        }),
        node: "node-1".into(),
        zone: "a".into(),
        region: "eu".into(),
        outcome: Outcome::Balanced,
        reason: None,
        summary: "goes to one of 3 backends".into(),
        service: Some(cart()),
        ports: vec![port()],
        rule: Some(Rule {
            algorithm: "Random".into(),
            hash: None,
            affinity_timeout_seconds: None,
            policy: Some("limits".into()),
            policy_kind: Some("TrafficPolicy".into()),
            scope: "same-zone".into(),
            internal_traffic_policy: "Cluster".into(),
            traffic_distribution: "PreferSameZone".into(),
            active: 4,
            max_connections: Some(10),
            max_connections_per_backend: Some(6),
            traffic: TrafficLimits::default(),
        }),
        backends: vec![
            candidate("10.244.1.5", true, "ready", 1.0 / 3.0),
            candidate("10.244.1.6", false, "not ready", 0.0),
        ],
        likely: "any of the backends that are in, each with the same probability".into(),
        notes: vec!["the client is on this node".into()],
    }
}

pub fn refusal() -> Explanation {
    Explanation {
        target: "10.96.0.10:81".parse().unwrap(),
        outcome: Outcome::Refused,
        reason: Some("no-such-port".into()),
        summary: "the address is a Service's, the port is not".into(),
        client: None,
        rule: None,
        backends: vec![],
        likely: String::new(),
        notes: vec![],
        ..explanation()
    }
}

pub fn untouched() -> Explanation {
    Explanation {
        target: "192.0.2.1:443".parse().unwrap(),
        outcome: Outcome::Untouched,
        reason: None,
        summary: "not a Service's address: the connection goes where it is addressed".into(),
        service: None,
        ports: vec![],
        zone: String::new(),
        region: String::new(),
        ..refusal()
    }
}

pub fn tables() -> Vec<ServiceTable> {
    vec![ServiceTable {
        service: cart(),
        addresses: vec!["10.96.0.10".parse().unwrap()],
        ports: vec![PortTable {
            protocol: "TCP".into(),
            frontends: vec!["10.96.0.10:80".parse().unwrap()],
            algorithm: "Random".into(),
            slots: 1,
            endings: Endings { drain: Some("Keep".into()), ..Endings::default() },
            affinity_timeout_seconds: None,
            backends: vec!["10.244.1.5:8080".parse().unwrap()],
        }],
        kept: vec![],
        max_connections: Some(10),
        max_connections_per_backend: None,
        traffic: TrafficLimits::default(),
        load: Some(Load { clients: vec![4], backends: vec![BackendLoad { open: 4, counted: true }] }),
    }]
}

pub fn vitals(status: &Status) -> Vitals {
    let broken = status.programs.iter().filter(|program| !program.in_force);
    Vitals {
        starting: status.health == Health::Starting,
        broken: broken.map(|program| program.hook.clone()).collect(),
        node_eligible: status.node_eligible,
        last_updated: status.synchronisation.last,
    }
}

pub fn figures(status: &Status) -> Figures {
    let mut reasons = [0; Reason::ALL.len()];
    reasons[Reason::Selected as usize] = 1_232;
    reasons[Reason::Spilled as usize] = 2;
    reasons[Reason::FlowKept as usize] = 7;
    reasons[Reason::ServiceLimit as usize] = 40;
    reasons[Reason::ObservedClientRate as usize] = 3;
    let [changes, syncs] = [(); 2].map(|()| Histogram::new([0.001, 0.01]));
    changes.observe(0.002);
    syncs.observe(0.000_5);
    Figures {
        status: status.clone(),
        services: vec![ServiceFigures {
            ejected: Some((1, 3)),
            ended: [0, 3, 0],
            returned: 1,
            service: ServiceKey::new("shop", "cart"),
            active: 5,
            reasons,
            max_connections: Some(100),
            max_connections_per_backend: None,
            traffic: TrafficLimits {
                max_connections_per_client: Some(5),
                connections_per_second: Some(50),
                connections_per_second_per_client: Some(7),
                max_flows_per_client: Some(9),
                ..TrafficLimits::default()
            },
        }],
        left_out: 0,
        changes,
        syncs,
    }
}

pub fn healthz() -> Healthz {
    Healthz { last_updated: Some(days_ago(1)), current_time: days_ago(1), node_eligible: true }
}
