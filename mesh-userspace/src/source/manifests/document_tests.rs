//! Tables of what is written and what is understood or reported.

use super::*;
use crate::model::Object;
use crate::source::manifests::split;

fn items(text: &str) -> Vec<Item> {
    let mut parser = Parser::new();
    split::yaml(text).into_iter().flat_map(|document| read(&mut parser, Format::Yaml, document)).collect()
}

/// Each finding as `object: field: message`.
fn findings(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for item in items(text) {
        let (Item::Understood(_, findings) | Item::Rejected(_, findings)) = item else { continue };
        lines.extend(findings.into_iter().map(|finding| {
            assert!(!finding.action.is_empty(), "{finding}");
            format!("{} {finding}", finding.severity.name())
        }));
    }
    lines
}

fn assert_findings(text: &str, expected: &[&str]) {
    let found = findings(text);
    assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{text}\n found: {found}\nwanted: {expected}");
    }
}

fn service(rest: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: cart, namespace: shop}}\n{rest}\n")
}

fn slice(rest: &str) -> String {
    let labels = "labels: {kubernetes.io/service-name: cart}";
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: cart-1, namespace: shop, {labels}}}\n{rest}\n"
    )
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: mesh.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: p, namespace: shop}}\nspec: {spec}\n"
    )
}

#[test]
fn bad_services_name_the_field() {
    let port = "ports: [{port: 80}]";
    for (spec, expected) in [
        ("", &["Service shop/cart: spec: it has no spec", "spec.clusterIP", "spec.ports"][..]),
        (
            "spec: {clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: b, port: 70000}]}",
            &["rejected Service shop/cart: spec.ports[1].port: 70000 is no port; write a port from 1 to 65535"],
        ),
        ("spec: {clusterIP: 10.96.0.1, ports: [{port: 0}]}", &["spec.ports[0].port: 0 is no port"]),
        ("spec: {clusterIP: 10.96.0.1, ports: [{port: http}]}", &["rejected Service shop/cart: spec.ports[0].port: "]),
        (
            "spec: {clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: a, port: 81}]}",
            &["spec.ports[1].name: \"a\""],
        ),
        (
            "spec: {clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {port: 81}]}",
            &["spec.ports[1].name: a port without"],
        ),
        (
            "spec: {clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: b, port: 80}]}",
            &["spec.ports[1].port: 80/TCP is listed twice"],
        ),
        ("spec: {clusterIP: 10.96.0.1, ports: [{port: 80, protocol: tcp}]}", &["spec.ports[0].protocol: \"tcp\""]),
        ("spec: {clusterIP: 10.96.0.1, ports: []}", &["spec.ports: it lists no port"]),
        ("spec: {clusterIP: 10.96.0, PORT}", &["spec.clusterIP: \"10.96.0\" is no IP address"]),
        ("spec: {clusterIP: 127.0.0.1, PORT}", &["spec.clusterIP: \"127.0.0.1\" is a loopback address"]),
        ("spec: {clusterIPs: [10.96.0.1, x], PORT}", &["spec.clusterIPs[1]: \"x\""]),
        ("spec: {clusterIPs: [10.96.0.1, 10.96.0.2], PORT}", &["spec.clusterIPs[1]: 10.96.0.2 is a second IPv4"]),
        ("spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.2], PORT}", &["spec.clusterIPs[0]: 10.96.0.2 is not"]),
        (
            "spec: {clusterIP: 10.96.0.1, internalTrafficPolicy: local, PORT}",
            &["spec.internalTrafficPolicy: \"local\""],
        ),
        ("spec: {clusterIP: 10.96.0.1, externalIPs: [127.0.0.1], PORT}", &["spec.externalIPs[0]: \"127.0.0.1\""]),
        ("spec: {clusterIP: 10.96.0.1, sessionAffinity: Cookie, PORT}", &["spec.sessionAffinity: \"Cookie\""]),
        (
            "spec: {clusterIP: 10.96.0.1, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}, PORT}",
            &["spec.sessionAffinityConfig: there is no affinity"],
        ),
        (
            "spec: {clusterIP: 10.96.0.1, sessionAffinity: ClientIP, \
             sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, PORT}",
            &["spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 is no timeout"],
        ),
        (
            "spec: {clusterIP: 10.96.0.1, sessionAffinity: ClientIP, \
             sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}, PORT}",
            &["spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is no timeout"],
        ),
        ("spec: {clusterIP: 10.96.0.1, type: Cluster, PORT}", &["spec.type: \"Cluster\""]),
    ] {
        let spec = spec.replace("PORT", port);
        assert_findings(&service(&spec), expected);
        assert!(matches!(&items(&service(&spec))[..], [Item::Rejected(Some(_), _)]), "{spec}");
    }
}

#[test]
fn s07_session_affinity_has_kubernetes_default_and_bounds() {
    for (spec, seconds) in [
        ("sessionAffinity: ClientIP", Some(10_800)),
        ("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {}}", Some(10_800)),
        ("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 1}}", Some(1)),
        ("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}", Some(86_400)),
        ("sessionAffinity: None", None),
    ] {
        let text = service(&format!("spec: {{clusterIP: 10.96.0.1, {spec}, ports: [{{port: 80}}]}}"));
        assert_findings(&text, &[]);
        let items = items(&text);
        let [Item::Understood(Object::Service(service), _)] = &items[..] else { panic!("{items:?}") };
        assert_eq!(service.session_affinity.map(|timeout| timeout.as_secs()), seconds, "{spec}");
    }
}

#[test]
fn s14_the_load_balancers_addresses_are_the_nodes_unless_they_are_a_proxys() {
    for (status, ranges, ips, expected) in [
        (
            "[{ip: 192.0.2.1}, {ip: 192.0.2.2, ipMode: VIP}, {ip: 192.0.2.1}]",
            "[]",
            &["192.0.2.1", "192.0.2.2"][..],
            None,
        ),
        ("[{ip: 192.0.2.1, ipMode: Proxy}, {hostname: lb.example.com}]", "[]", &[], None),
        ("[{ip: 127.0.0.1}, {ip: 192.0.2.1}]", "[]", &["192.0.2.1"], Some("status.loadBalancer.ingress[0].ip")),
        ("[{ip: 192.0.2.1}]", "[192.0.2.0/24, ' 2001:db8::/32']", &["192.0.2.1"], None),
    ] {
        let spec = format!("spec: {{clusterIP: 10.96.0.1, loadBalancerSourceRanges: {ranges}, ports: [{{port: 80}}]}}");
        let text = service(&format!("{spec}\nstatus: {{loadBalancer: {{ingress: {status}}}}}"));
        assert_findings(&text, expected.as_slice());
        let items = items(&text);
        let [Item::Understood(Object::Service(service), _)] = &items[..] else { panic!("{items:?}") };
        let found: Vec<_> = service.load_balancer_ips.iter().map(ToString::to_string).collect();
        assert_eq!(found, ips, "{status}");
    }
}

#[test]
fn s33_what_is_not_served_is_reported_and_the_rest_served() {
    for (spec, expected) in [
        (
            "type: NodePort",
            &["spec.type: its node ports are served to clients in the cluster; clients outside are not served yet"][..],
        ),
        ("type: LoadBalancer", &["spec.type: its addresses and node ports are served to clients"]),
        ("trafficDistribution: PreferMoon", &["spec.trafficDistribution: \"PreferMoon\""]),
        ("trafficDistribution: PreferClose", &[]),
    ] {
        let text = service(&format!("spec: {{clusterIP: 10.96.0.1, {spec}, ports: [{{port: 80}}]}}"));
        assert_findings(&text, expected);
        let items = items(&text);
        let [Item::Understood(Object::Service(service), _)] = &items[..] else { panic!("{items:?}") };
        assert_eq!((service.cluster_ips.len(), service.ports.len()), (1, 1));
    }
    let sctp =
        service("spec: {clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: b, port: 80, protocol: SCTP}]}");
    assert_findings(&sctp, &["unsupported Service shop/cart: spec.ports[1].protocol: SCTP"]);
    let without = service("spec: {ports: [{port: 80}]}");
    assert_findings(&without, &["unresolved Service shop/cart: spec.clusterIP: it has no ClusterIP"]);
}

#[test]
fn annotations_of_ours_are_checked() {
    let with = |annotation: &str| {
        service("spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}")
            .replace("namespace: shop", &format!("namespace: shop, annotations: {{{annotation}}}"))
    };
    assert_findings(&with("mesh.dev/drain: End"), &[]);
    assert_findings(
        &with("mesh.dev/drain: end"),
        &["rejected Service shop/cart: metadata.annotations[mesh.dev/drain]"],
    );
    assert_findings(
        &with("mesh.dev/darin: End"),
        &["unsupported Service shop/cart: metadata.annotations[mesh.dev/darin]"],
    );
    assert_findings(&with("example.com/drain: x"), &[]);
}

#[test]
fn s18_services_of_others_are_left_alone() {
    let labelled = service("spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}")
        .replace("namespace: shop", "namespace: shop, labels: {service.kubernetes.io/service-proxy-name: x}");
    for text in [
        service("spec: {clusterIP: None, ports: [{port: 80}]}"),
        service("spec: {clusterIP: None}"),
        service("spec: {type: ExternalName, externalName: example.com}"),
        labelled,
    ] {
        let items = items(&text);
        let [Item::Understood(Object::Service(service), findings)] = &items[..] else { panic!("{items:?}") };
        assert!(service.ignored.is_some() && service.cluster_ips.is_empty() && findings.is_empty(), "{text}");
    }
}

#[test]
fn bad_slices_name_the_field() {
    for (rest, expected) in [
        (
            "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}, {addresses: [cart]}]\nports: []",
            &["rejected EndpointSlice shop/cart-1: endpoints[1].addresses[0]: \"cart\" is no IP address"][..],
        ),
        ("addressType: IPv4\nendpoints: [{addresses: []}]", &["endpoints[0].addresses: it has no address"]),
        ("addressType: IPv4\nendpoints: [{addresses: ['fd00::1']}]", &["endpoints[0].addresses[0]: fd00::1 is not of"]),
        ("addressType: IPv6\nendpoints: [{addresses: ['::ffff:10.0.0.1']}]", &["is an IPv4 address written as IPv6"]),
        ("addressType: IP\nendpoints: []", &["addressType: \"IP\""]),
        ("addressType: IPv4\nports: [{port: 70000}]", &["ports[0].port: 70000 is no port"]),
        ("addressType: IPv4\nports: [{port: 1}, {port: 2}]", &["ports[1].name: \"\" is the name of ports[0], too"]),
        ("addressType: IPv4\nports: [{port: 1, protocol: ICMP}]", &["ports[0].protocol: \"ICMP\""]),
        ("addressType: IPv4\nendpoints: [{addresses: 10.0.0.1}]", &["endpoints[0].addresses: "]),
        ("endpoints: []", &["addressType"]),
    ] {
        assert_findings(&slice(rest), expected);
    }
    assert_findings(&slice("addressType: IPv4").replace("kubernetes.io/service-name", "other"), &["metadata.labels"]);
}

#[test]
fn s09_fqdn_slices_are_passed_over() {
    let items = items(&slice("addressType: FQDN\nendpoints: [{addresses: [example.com]}]"));
    assert!(matches!(&items[..], [Item::PassedOver(_)]), "{items:?}");
}

#[test]
fn what_is_absent_has_its_meaning() {
    let items = items(&slice(
        "addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [10.0.0.1]}, \
         {addresses: [10.0.0.2], conditions: {ready: false}, nodeName: n1, zone: z1, targetRef: {kind: Pod, name: p1}, \
         hints: {forZones: [{name: z1}]}}, {addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}}]",
    ));
    let [Item::Understood(Object::EndpointSlice(slice), _)] = &items[..] else { panic!("{items:?}") };
    assert_eq!((&*slice.service.name, slice.v6), ("cart", false));
    assert_eq!(slice.ports[0].port, 8080);
    let states: Vec<_> = slice.endpoints.iter().map(|e| (e.ready, e.serving, e.terminating)).collect();
    assert_eq!(states, [(true, true, false), (false, false, false), (false, true, true)]);
    let second = &slice.endpoints[1];
    assert_eq!((&*second.node, &*second.zone, &*second.pod), ("n1", "z1", "p1"));
    assert_eq!(&*second.hints.as_ref().unwrap().zones[0], "z1");
}

#[test]
fn policies_refuse_what_they_do_not_know() {
    let target = "targetRefs: [{group: '', kind: Service, name: cart}]";
    for (spec, expected) in [
        (
            "{TARGET, limits: {maxConnections: 10, maxConnectionsPerBackend: 0}, loadBalancer: {algorithm: RoundRobin}}",
            &[][..],
        ),
        (
            "{TARGET, limits: {maxConnection: 10}}",
            &["rejected TrafficPolicy shop/p: spec.limits.maxConnection: unknown field `maxConnection`"],
        ),
        ("{TARGET, limit: {}}", &["spec.limit: unknown field"]),
        ("{TARGET, limits: {maxConnections: -1}}", &["spec.limits.maxConnections: "]),
        ("{TARGET, limits: {maxConnections: ten}}", &["spec.limits.maxConnections: "]),
        (
            "{TARGET, loadBalancer: {algorithm: Fastest}}",
            &[
                "spec.loadBalancer.algorithm: \"Fastest\" is no algorithm; write Random or RoundRobin or LeastConnections or Maglev",
            ],
        ),
        ("{TARGET}", &["spec: it asks for nothing"]),
        ("{TARGET, limits: {}}", &["spec.limits: it asks for nothing"]),
        ("{targetRefs: [], LIMITS}", &["spec.targetRefs: it is attached to nothing"]),
        ("{}", &["spec: missing field `targetRefs`"]),
        (
            "{targetRefs: [{group: apps, kind: Deployment, name: cart}], LIMITS}",
            &["spec.targetRefs[0].kind: \"Deployment\""],
        ),
        (
            "{targetRefs: [{kind: Service, name: cart, namespace: other}]}",
            &["spec.targetRefs[0].namespace: unknown field"],
        ),
        (
            "{targetRefs: [{kind: Service, name: a}, {kind: Service, name: a}], LIMITS}",
            &["spec.targetRefs[1].name: \"a\" is listed twice"],
        ),
    ] {
        let spec = spec.replace("TARGET", target).replace("LIMITS", "limits: {maxConnections: 1}");
        assert_findings(&policy(&spec), expected);
    }
    let misplaced = policy(&format!("{{{target}}}")) + "limits: {maxConnections: 1}\n";
    assert_findings(&misplaced, &["TrafficPolicy shop/p: limits: unknown field"]);
}

#[test]
fn documents_that_are_no_objects_are_reported() {
    assert_findings("a: [1\n", &["line "]);
    assert_findings("a: 1\na: 2\n", &["duplicate"]);
    assert_findings("just text\n", &["it is no object"]);
    assert_findings("apiVersion: v1\nmetadata: {name: x}\n", &["kind: it is missing"]);
    assert_findings("apiVersion: v1\nkind: Service\nspec: {}\n", &["metadata.name: this Service has no name"]);
    assert_findings(
        "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: x}\n",
        &[
            "EndpointSlice default/x: apiVersion: discovery.k8s.io/v1beta1 of EndpointSlice is not read; write discovery.k8s.io/v1",
        ],
    );
    assert_findings("a: 1\n---\nb: [\n", &["", "line 3"]);
}

#[test]
fn other_kinds_are_passed_over() {
    let kinds: Vec<String> = items("apiVersion: apps/v1\nkind: Deployment\n---\napiVersion: v1\nkind: ConfigMap\n")
        .into_iter()
        .map(|item| match item {
            Item::PassedOver(kind) => kind.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["Deployment.apps", "ConfigMap"]);
}

#[test]
fn lists_give_their_items() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: a}}\n- {apiVersion: v1, kind: Node}\n";
    assert_findings(list, &["items[1].metadata.name: this Node has no name"]);
    assert!(matches!(&items(list)[0], Item::Understood(Object::Node(node), _) if &*node.name == "a"));
    let typed =
        "apiVersion: v1\nkind: NodeList\nitems:\n- metadata: {name: a, labels: {topology.kubernetes.io/zone: z}}\n";
    assert!(matches!(&items(typed)[..], [Item::Understood(Object::Node(node), _)] if &*node.locality.zone == "z"));
}

#[test]
fn the_older_yaml_is_read_as_kubectl_reads_it() {
    let items = items(&slice("addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: no}}]"));
    assert!(
        matches!(&items[..], [Item::Understood(Object::EndpointSlice(slice), _)] if !slice.endpoints[0].ready),
        "{items:?}"
    );
}
