//! Manifests in, answers out: over maps without a kernel, whose counters the tests turn.

use super::Facts;
use crate::api::query::{ExplainQuery, ExplainTarget, Scope};
use crate::api::types::{BackendState, Explanation, Outcome, ServiceState};
use crate::maps::{Maps, MemoryMaps};
use crate::model::ServiceKey;
use crate::plan::Sizes;
use crate::reconcile::Reconciler;
use crate::source::manifests;
use crate::state::ClusterState;
use insta::assert_snapshot;
use mesh_common::address::{Address, Protocol};
use mesh_common::atomic::Atomic64;
use mesh_common::reason::Reason;
use std::fmt::Write as _;
use std::time::Instant;

/// A shop: three carts of which one is not ready, with at most 4 connections, 2 to each; a
/// Service without endpoints, one that takes turns, one that is left alone.
const SHOP: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-1, labels: {topology.kubernetes.io/zone: a}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIPs: [10.96.0.10, 'fd00:96::a'], clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.244.1.5], nodeName: node-1, zone: a, targetRef: {kind: Pod, name: cart-a}}
- {addresses: [10.244.1.6], nodeName: node-1, zone: a, targetRef: {kind: Pod, name: cart-b}}
- {addresses: [10.244.2.7], nodeName: node-2, zone: b, targetRef: {kind: Pod, name: cart-c}, conditions: {ready: false}}
---
apiVersion: mesh.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: limits, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  limits: {maxConnections: 4, maxConnectionsPerBackend: 2}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: shop}
spec: {clusterIP: 10.96.0.11, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.53, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: dns-1, namespace: kube-system, labels: {kubernetes.io/service-name: dns}}
addressType: IPv4
ports: [{port: 53, protocol: UDP}]
endpoints: [{addresses: [10.244.1.53]}, {addresses: [10.244.2.53]}]
---
apiVersion: mesh.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: turns, namespace: kube-system}
spec:
  targetRefs: [{group: '', kind: Service, name: dns}]
  loadBalancer: {algorithm: RoundRobin}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: data}
spec: {clusterIP: None, ports: [{port: 5432}]}
";

struct World {
    state: ClusterState,
    reconciler: Reconciler<MemoryMaps>,
}

impl World {
    fn new(text: &str) -> Self {
        Self::with(text, Sizes { services: 64, slots: 256, backends: 64, ..Sizes::default() })
    }

    fn with(text: &str, sizes: Sizes) -> Self {
        let mut world =
            Self { state: ClusterState::new("node-1", 1), reconciler: Reconciler::new(MemoryMaps::new(sizes)) };
        world.read(text);
        world
    }

    /// What the manifests are from now on.
    fn read(&mut self, text: &str) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop.yaml"), text).unwrap();
        let known: Vec<_> = self.state.services().iter().map(|service| service.key.object()).collect();
        for object in known {
            self.state.apply(crate::source::Change::Remove(object));
        }
        for change in manifests::read_once(folder.path()).unwrap().0 {
            self.state.apply(change);
        }
        for key in self.state.take_dirty() {
            let desired = self.state.compile(&key);
            self.reconciler.set(key, desired);
        }
        self.reconciler.sync(Instant::now());
        while let Some(ticket) = self.reconciler.begin_grace() {
            self.reconciler.end_grace(ticket, &Ok(()));
            self.reconciler.sync(Instant::now());
        }
    }

    fn facts(&self) -> Facts<'_, MemoryMaps> {
        Facts::new(&self.state, &self.reconciler)
    }

    /// The programs opened so many connections to a backend of the cart.
    fn open(&self, backend: &str, connections: u64) {
        let counts = self.reconciler.service_counts(&ServiceKey::new("shop", "cart")).unwrap();
        let wanted = Address::from(backend.parse::<std::net::IpAddr>().unwrap());
        let backend = counts.backends.iter().find(|counts| counts.key.address == wanted).unwrap();
        let arrays = self.reconciler.maps().arrays();
        let entry = arrays.service(counts.account).unwrap();
        for (cell, by) in [
            (&arrays.backend(backend.id).unwrap().active, connections),
            (&entry.active, connections),
            (&entry.opened, connections),
        ] {
            add(cell, by);
        }
    }

    fn refuse(&self, service: &str, reason: Reason, times: u64) {
        let counts = self.reconciler.service_counts(&ServiceKey::new("shop", service)).unwrap();
        add(&self.reconciler.maps().arrays().reasons(counts.account).unwrap()[reason as usize], times);
    }

    fn explain(&self, protocol: Protocol, target: &str, from: Option<&str>) -> Explanation {
        let target: std::net::SocketAddr = target.parse().unwrap();
        let target = ExplainTarget::Address { protocol, address: target.ip(), port: target.port() };
        self.facts().explain(&ExplainQuery { from: from.map(str::to_owned), target }).unwrap()
    }
}

fn add(cell: &Atomic64, by: u64) {
    cell.store(cell.load() + by);
}

/// An explanation in a few lines.
fn brief(explanation: &Explanation) -> String {
    let mut text = format!("{}: {}\n", explanation.outcome.name(), explanation.summary);
    if let Some(reason) = &explanation.reason {
        let _ = writeln!(text, "reason {reason}");
    }
    for c in &explanation.backends {
        let is_in = if c.is_in { "in" } else { "out" };
        let _ = writeln!(text, "{} {is_in} {:.2} {}", c.address, c.probability, c.why);
    }
    if !explanation.likely.is_empty() {
        let _ = writeln!(text, "likely {}", explanation.likely);
    }
    for note in &explanation.notes {
        let _ = writeln!(text, "note {note}");
    }
    text
}

#[test]
fn a_balanced_connection_shows_each_backend_in_or_out_and_why() {
    let world = World::new(SHOP);
    let explanation = world.explain(Protocol::Tcp, "10.96.0.10:80", None);
    assert_snapshot!(brief(&explanation), @r"
    balanced: goes to one of 2 backends of Service shop/cart
    10.244.1.5 in 0.50 ready
    10.244.1.6 in 0.50 ready
    10.244.2.7 out 0.00 not ready
    likely any of the 2, each with the same probability
    ");
    let rule = explanation.rule.unwrap();
    assert_eq!(
        (rule.algorithm.as_str(), rule.policy.as_deref(), rule.scope.as_str()),
        ("Random", Some("limits"), "cluster")
    );
    assert_eq!((rule.max_connections, rule.max_connections_per_backend), (Some(4), Some(2)));
    assert_eq!(explanation.zone, "a");
}

#[test]
fn a_backend_at_its_limit_is_out_and_leaves_its_share() {
    let world = World::new(SHOP);
    world.open("10.244.1.5", 2);
    assert_snapshot!(brief(&world.explain(Protocol::Tcp, "10.96.0.10:80", None)), @r"
    balanced: goes to the one backend of Service shop/cart that takes it
    10.244.1.5 out 0.00 at its limit: 2 of 2 connections are open
    10.244.1.6 in 1.00 ready
    10.244.2.7 out 0.00 not ready
    likely 10.244.1.6:8080
    ");
}

#[test]
fn the_services_limit_and_the_backends_limits_are_told_apart() {
    let world = World::new(&SHOP.replace("maxConnections: 4", "maxConnections: 9"));
    world.open("10.244.1.5", 2);
    world.open("10.244.1.6", 2);
    assert_snapshot!(brief(&world.explain(Protocol::Tcp, "10.96.0.10:80", None)), @r"
    refused: each of the 2 eligible backends is at its limit; the client gets ECONNREFUSED
    reason backend-limit
    10.244.1.5 out 0.00 at its limit: 2 of 2 connections are open
    10.244.1.6 out 0.00 at its limit: 2 of 2 connections are open
    10.244.2.7 out 0.00 not ready
    ");
    let world = World::new(SHOP);
    world.open("10.244.1.5", 2);
    world.open("10.244.1.6", 2);
    let explanation = world.explain(Protocol::Tcp, "10.96.0.10:80", None);
    assert_eq!(explanation.reason.as_deref(), Some("service-limit"));
    assert_eq!(
        explanation.summary,
        "Service shop/cart is at its limit: 4 of 4 connections are open; the client gets ECONNREFUSED"
    );
}

#[test]
fn what_hits_nothing_is_explained_in_the_same_words() {
    let world = World::new(SHOP);
    let brief = |protocol, target| brief(&world.explain(protocol, target, None));
    assert_snapshot!(brief(Protocol::Tcp, "10.96.0.10:81"), @r"
    refused: Service shop/cart does not list this port; it lists 80/TCP; the client gets ECONNREFUSED
    reason no-such-port
    ");
    assert_snapshot!(brief(Protocol::Udp, "10.96.0.10:80"), @r"
    refused: Service shop/cart does not list this port; it lists 80/TCP; the client gets ECONNREFUSED
    reason no-such-port
    ");
    assert_snapshot!(brief(Protocol::Tcp, "10.96.0.11:80"), @r"
    refused: Service shop/empty has no endpoint for this port; the client gets ECONNREFUSED
    reason no-backend
    ");
    assert_snapshot!(brief(Protocol::Tcp, "[fd00:96::a]:80"), @r"
    refused: Service shop/cart has no endpoint for this port; the client gets ECONNREFUSED
    reason no-backend
    ");
    assert_snapshot!(brief(Protocol::Tcp, "192.0.2.1:443"), @"untouched: no Service has this address: the connection goes to where it is addressed");
    assert_snapshot!(brief(Protocol::Tcp, "10.244.1.5:8080"), @r"
    untouched: no Service has this address: the connection goes to where it is addressed
    note the address is that of pod shop/cart-a: dialled by itself it is not balanced and not limited
    ");
}

#[test]
fn a_v4_mapped_address_is_the_ipv4_address() {
    let world = World::new(SHOP);
    let explanation = world.explain(Protocol::Tcp, "[::ffff:10.96.0.10]:80", None);
    assert_eq!((explanation.outcome, explanation.target.to_string().as_str()), (Outcome::Balanced, "10.96.0.10:80"));
}

#[test]
fn turns_name_the_next_backend() {
    let world = World::new(SHOP);
    let counts = world.reconciler.service_counts(&ServiceKey::new("kube-system", "dns")).unwrap();
    let likely = || world.explain(Protocol::Udp, "10.96.0.53:53", None).likely;
    assert_eq!(likely(), "10.244.1.53:53");
    add(&world.reconciler.maps().arrays().service(counts.ports[0].id).unwrap().cursor, 1);
    assert_eq!(likely(), "10.244.2.53:53");
}

#[test]
fn clients_are_known_by_address_and_by_pod() {
    let world = World::new(SHOP);
    let client = |from| {
        let explanation = world.explain(Protocol::Tcp, "10.96.0.10:80", Some(from));
        let client = explanation.client.unwrap();
        (client.pod, client.node, explanation.notes.join(" "))
    };
    let itself = "the client is itself one of the backends: it may reach itself";
    for from in ["10.244.1.5", "cart-a", "shop/cart-a"] {
        assert_eq!(client(from), ("shop/cart-a".into(), "node-1".into(), itself.into()), "{from}");
    }
    assert!(client("shop/cart-c").2.contains("the client runs on node node-2"), "{:?}", client("shop/cart-c"));
    for from in ["10.9.9.9", "other/cart-a", "nobody"] {
        assert!(client(from).2.contains("no endpoint slice knows this client"), "{from}");
    }
}

#[test]
fn a_service_may_be_named() {
    let world = World::new(SHOP);
    let explain = |name: &str, port: Option<&str>| {
        let target = ExplainTarget::Service {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            port: port.map(str::to_owned),
        };
        world.facts().explain(&ExplainQuery { from: None, target })
    };
    for port in [None, Some("http"), Some("80")] {
        assert_eq!(explain("cart", port).unwrap().target.to_string(), "10.96.0.10:80", "{port:?}");
    }
    assert_eq!(explain("cart", Some("https")).unwrap_err().action, "it has 80/TCP");
    assert!(explain("nothing", None).is_err());
}

#[test]
fn services_are_listed_with_what_is_counted() {
    let world = World::new(SHOP);
    world.open("10.244.1.5", 1);
    world.refuse("cart", Reason::ServiceLimit, 3);
    world.refuse("empty", Reason::NoBackend, 2);
    let mut text = String::new();
    for service in world.facts().services(&Scope::default()) {
        let (state, backends) = (service.state.name(), service.backends);
        let _ = writeln!(
            text,
            "{} {state} {}/{} active {} opened {} refused {} {} {:?}",
            service.service_name(),
            backends.eligible,
            backends.listed,
            service.active,
            service.opened,
            service.refused,
            service.algorithm,
            service.policy,
        );
    }
    assert_snapshot!(text, @r#"
    data/db ignored 0/0 active 0 opened 0 refused 0 Random None
    kube-system/dns served 2/2 active 0 opened 0 refused 0 RoundRobin Some("turns")
    shop/cart served 2/3 active 1 opened 1 refused 3 Random Some("limits")
    shop/empty served 0/0 active 0 opened 0 refused 2 Random None
    "#);
    let scope = Scope { namespace: Some("data".to_owned()) };
    assert_eq!(world.facts().services(&scope).len(), 1);
}

#[test]
fn one_service_is_shown_with_its_reasons_and_findings() {
    let unsupported =
        SHOP.replace("ports: [{name: http, port: 80}]", "type: NodePort, ports: [{name: http, port: 80}]");
    let world = World::new(&unsupported);
    world.open("10.244.1.6", 3);
    world.refuse("cart", Reason::Spilled, 1);
    world.refuse("cart", Reason::Affinity, 1);
    let detail = world.facts().service(&ServiceKey::new("shop", "cart")).unwrap();
    let reasons: Vec<_> =
        detail.reasons.iter().filter(|(_, count)| **count > 0).map(|(r, n)| (r.as_str(), *n)).collect();
    assert_eq!(reasons, [("affinity", 1), ("selected", 1), ("spilled", 1)]);
    assert_eq!(detail.endpoints.len(), 3);
    assert_eq!(detail.findings.len(), 1, "{:?}", detail.findings);
    assert!(world.facts().service(&ServiceKey::new("shop", "nothing")).is_none());
}

#[test]
fn a_backend_that_went_is_shown_while_it_has_connections() {
    let mut world = World::new(SHOP);
    world.open("10.244.1.6", 1);
    world.read(&SHOP.replace("10.244.1.6", "10.244.1.8"));
    let backends = world.facts().backends(&Scope { namespace: Some("shop".to_owned()) });
    let gone: Vec<_> = backends.iter().filter(|backend| backend.state == BackendState::Gone).collect();
    assert_eq!(gone.len(), 1, "{backends:?}");
    assert_eq!((gone[0].address.to_string().as_str(), gone[0].active), ("10.244.1.6", 1));
    assert!(gone[0].why.contains("go on"), "{}", gone[0].why);
}

#[test]
fn a_service_that_does_not_fit_says_what_to_raise() {
    let world = World::with(SHOP, Sizes { services: 64, slots: 256, backends: 2, ..Sizes::default() });
    let facts = world.facts();
    let failed: Vec<_> =
        facts.services(&Scope::default()).into_iter().filter(|s| s.state == ServiceState::Failed).collect();
    assert!(!failed.is_empty());
    assert!(failed.iter().all(|service| service.message.contains("--max-backends")), "{failed:?}");
}

#[test]
fn the_tables_are_what_a_plan_of_the_same_manifests_wants() {
    let world = World::new(SHOP);
    let desired: Vec<_> = world
        .state
        .services()
        .into_iter()
        .filter_map(|service| {
            let name = super::name(&service.key);
            Some(crate::api::types::ServiceTable::desired(name, &world.state.compile(&service.key)?))
        })
        .collect();
    let tables = world.facts().tables().unwrap().into_iter();
    let tables = tables.map(|table| crate::api::types::ServiceTable { load: None, ..table });
    assert_eq!(tables.collect::<Vec<_>>(), desired);
}
