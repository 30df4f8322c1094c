//! Every field of a `DestinationRule`, and what becomes of it: the parser reports by this table, and `docs/policies.md` shows it.
//!
//! The fields are those of Istio's reference (`networking.istio.io/v1`, `v1beta1`, `v1alpha3`: the same in each).

/// What becomes of a field.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It is an object, and its fields are in the table themselves.
    Object,
    /// It is honoured; how.
    Honoured(&'static str),
    /// It is not served; why, and what to do.
    Unsupported(&'static str, &'static str),
    /// It depends on what is written.
    Values(&'static [(&'static str, Fate)]),
}

/// A field by its path below a part of the rule.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The path, with a dot between the levels.
    pub path: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

const fn object(path: &'static str) -> Field {
    Field { path, fate: Fate::Object }
}

const fn honoured(path: &'static str, how: &'static str) -> Field {
    Field { path, fate: Fate::Honoured(how) }
}

const fn unsupported(path: &'static str, why: &'static str, action: &'static str) -> Field {
    Field { path, fate: Fate::Unsupported(why, action) }
}

const HTTP: &str = "mesh balances connections and does not read HTTP";
const TLS: &str = "mesh is not on the path of the connection, so it cannot speak TLS for its ends";
const HASH_DO: &str = "write useSourceIp: true, or sessionAffinity: ClientIP in the Service";
const EXPECT: &str = "remove it, or keep a proxy for this Service";

/// Fields of `spec`.
pub const RULE: &[Field] = &[
    honoured("host", "the Services it names, see [hosts](#hosts)"),
    object("trafficPolicy"),
    unsupported(
        "subsets",
        "endpoint slices do not carry the labels that make a subset, and no route leads to one",
        "make a Service of each version; the rest of the rule is in force",
    ),
    honoured("exportTo", "`*`, or left out; anything else puts the rule out of force, and says so"),
    unsupported(
        "workloadSelector",
        "what a Service's clients meet does not depend on which of them asks",
        "remove it; until then the rule is not in force",
    ),
];

/// Fields of `spec.trafficPolicy`, besides those that a port may have, too.
pub const DESTINATION: &[Field] = &[
    honoured("portLevelSettings", "each port by itself; a port that is listed inherits nothing, as in Istio"),
    unsupported("tunnel", "mesh does not change what a connection carries", EXPECT),
    unsupported("proxyProtocol", "mesh does not change what a connection carries", EXPECT),
    unsupported("retryBudget", HTTP, EXPECT),
];

/// Fields of `spec.trafficPolicy`, and of each element of its `portLevelSettings`.
pub const TRAFFIC: &[Field] = &[
    object("loadBalancer"),
    Field { path: "loadBalancer.simple", fate: Fate::Values(SIMPLE) },
    object("loadBalancer.consistentHash"),
    honoured(
        "loadBalancer.consistentHash.useSourceIp",
        "`Maglev` by client: the client's network namespace, its pod, stands for its address; false: mesh's own default",
    ),
    unsupported("loadBalancer.consistentHash.httpHeaderName", HTTP, HASH_DO),
    unsupported("loadBalancer.consistentHash.httpCookie", HTTP, HASH_DO),
    unsupported("loadBalancer.consistentHash.httpQueryParameterName", HTTP, HASH_DO),
    unsupported("loadBalancer.consistentHash.ringHash", "mesh hashes by Maglev's tables", "remove it"),
    object("loadBalancer.consistentHash.maglev"),
    honoured(
        "loadBalancer.consistentHash.maglev.tableSize",
        "the least size of the table: the next of 251, 509, 1,021, 2,039, 4,093, 8,191 and 16,381, the most that there is, and \
         at least 100 positions for each endpoint",
    ),
    unsupported(
        "loadBalancer.consistentHash.minimumRingSize",
        "deprecated in Istio (its place is ringHash.minimumRingSize), and mesh hashes by Maglev's tables",
        "remove it",
    ),
    object("loadBalancer.localityLbSetting"),
    honoured(
        "loadBalancer.localityLbSetting.enabled",
        "true: endpoints that are near come first while one of them is ready: those in the node's own zone, then in its region, \
         then all others; only if `outlierDetection` is written beside it, as in Istio; left out it is true; without \
         `localityLbSetting` no place comes first",
    ),
    honoured(
        "loadBalancer.localityLbSetting.distribute",
        "as a split between places, by the first entry that is for the node's place; places are written \
         `region/zone/subzone`, `region/zone/*`, `region/*` or `*`; a region is that of the endpoint's Node",
    ),
    honoured(
        "loadBalancer.localityLbSetting.failover",
        "after the node's own region comes the one that is named, then all others",
    ),
    honoured(
        "loadBalancer.localityLbSetting.failoverPriority",
        "by the labels of the endpoints' Nodes: `topology.kubernetes.io/region`, `topology.kubernetes.io/zone`, \
         `topology.istio.io/subzone` and `kubernetes.io/hostname`, each also with `=value`; another one is reported, and \
         ends the list",
    ),
    object("loadBalancer.warmup"),
    honoured("loadBalancer.warmup.duration", "slow start, in whole seconds, rounded up; for all ports of the Service"),
    honoured("loadBalancer.warmup.minimumPercent", "in whole per cent, 1 at least; 10 by default, as in Istio"),
    honoured("loadBalancer.warmup.aggression", "1 to 10; 1 by default, as in Istio"),
    honoured(
        "loadBalancer.warmupDurationSecs",
        "as `loadBalancer.warmup.duration`, its new name in Istio, which comes first where both are written",
    ),
    object("connectionPool"),
    object("connectionPool.tcp"),
    honoured(
        "connectionPool.tcp.maxConnections",
        "exactly, on each node by itself and over all ports of the Service (Istio: in each client's proxy, by port); more are \
         refused; 0 is no limit, as in Istio",
    ),
    unsupported(
        "connectionPool.tcp.connectTimeout",
        "the connection is the client's own, and so is its timeout",
        "set it in the client",
    ),
    unsupported(
        "connectionPool.tcp.tcpKeepalive",
        "the connection is the client's own",
        "set it in the client or by sysctl",
    ),
    honoured(
        "connectionPool.tcp.idleTimeout",
        "by the agent of the client's node, in whole seconds, rounded up ([ending.md](ending.md)); less than a second is not \
         served; left out or 0s it is none (Istio's own is an hour)",
    ),
    honoured("connectionPool.tcp.maxConnectionDuration", "likewise, from connect()"),
    object("connectionPool.http"),
    unsupported("connectionPool.http.http1MaxPendingRequests", HTTP, "write connectionPool.tcp.maxConnections"),
    unsupported("connectionPool.http.http2MaxRequests", HTTP, "write connectionPool.tcp.maxConnections"),
    unsupported("connectionPool.http.maxRequestsPerConnection", HTTP, "set it in the client or the server"),
    unsupported("connectionPool.http.maxRetries", HTTP, EXPECT),
    unsupported("connectionPool.http.idleTimeout", HTTP, "set it in the client or the server"),
    unsupported("connectionPool.http.h2UpgradePolicy", HTTP, EXPECT),
    unsupported("connectionPool.http.useClientProtocol", HTTP, "remove it: the client's protocol is what arrives"),
    unsupported("connectionPool.http.maxConcurrentStreams", HTTP, "set it in the client or the server"),
    object("outlierDetection"),
    honoured(
        "outlierDetection.consecutiveErrors",
        "deprecated in Istio: as `consecutive5xxErrors`, where that is left out",
    ),
    honoured(
        "outlierDetection.splitExternalLocalOriginErrors",
        "with true, connects that fail are counted against `consecutiveLocalOriginFailures`, resets against the others",
    ),
    honoured(
        "outlierDetection.consecutiveLocalOriginFailures",
        "connects in a row that are refused or unanswered for a second, with `splitExternalLocalOriginErrors`; up to 255",
    ),
    honoured("outlierDetection.consecutiveGatewayErrors", "as `consecutive5xxErrors`; the lower of the two ejects"),
    honoured(
        "outlierDetection.consecutive5xxErrors",
        "connects in a row that fail, and by themselves connections in a row that are reset within a second before anything was \
         received; up to 255. HTTP is not read: no status counts",
    ),
    honoured(
        "outlierDetection.interval",
        "after so long one earlier ejection is forgotten; backends are ejected and come back at once, not by the interval",
    ),
    honoured("outlierDetection.baseEjectionTime", "times the ejections that are not forgotten, up to 300 s or this"),
    honoured(
        "outlierDetection.maxEjectionPercent",
        "of a port's endpoints, rounded down and never more: 10, the default, ejects none of fewer than ten",
    ),
    honoured("outlierDetection.minHealthPercent", "while fewer are not ejected, ejected ones are chosen, too"),
    object("tls"),
    Field { path: "tls.mode", fate: Fate::Values(TLS_MODES) },
    unsupported("tls.clientCertificate", TLS, EXPECT),
    unsupported("tls.privateKey", TLS, EXPECT),
    unsupported("tls.caCertificates", TLS, EXPECT),
    unsupported("tls.credentialName", TLS, EXPECT),
    unsupported("tls.subjectAltNames", TLS, EXPECT),
    unsupported("tls.sni", TLS, EXPECT),
    unsupported("tls.insecureSkipVerify", TLS, EXPECT),
    unsupported("tls.caCrl", TLS, EXPECT),
];

/// What is otherwise for one port.
pub const PORT: &[Field] = &[
    object("port"),
    honoured("port.number", "a port of the Service"),
    unsupported(
        "connectionPool.tcp.maxConnections",
        "one count holds for all ports of a Service",
        "write it under spec.trafficPolicy, or make a Service of the port",
    ),
    unsupported("loadBalancer.warmup", WARMUP, WARMUP_DO),
    unsupported("loadBalancer.warmupDurationSecs", WARMUP, WARMUP_DO),
    unsupported(
        "outlierDetection",
        "one rule holds for all ports of a Service; backends of a port that is listed are not ejected",
        "write it under spec.trafficPolicy and do not list the port, or make a Service of the port",
    ),
];

const WARMUP: &str = "a new backend is new for all ports of a Service";
const WARMUP_DO: &str = "write it under spec.trafficPolicy";

const SIMPLE: &[(&str, Fate)] = &[
    ("UNSPECIFIED", Fate::Honoured("mesh's own default, `Random`")),
    ("RANDOM", Fate::Honoured("`Random`")),
    ("ROUND_ROBIN", Fate::Honoured("`RoundRobin`, in turn on each node")),
    ("LEAST_REQUEST", Fate::Honoured(LEAST)),
    ("LEAST_CONN", Fate::Honoured("as `LEAST_REQUEST`, its new name in Istio")),
    (
        "PASSTHROUGH",
        Fate::Unsupported(
            "an address of a Service is no backend's, so there is nothing to pass through to; a backend is chosen at random",
            "dial the pods themselves, by a headless Service",
        ),
    ),
];

const LEAST: &str = "`LeastConnections`: of two random backends that with fewer connections open from this node";

const TLS_MODES: &[(&str, Fate)] = &[
    ("DISABLE", Fate::Honoured("connections are the client's own, untouched")),
    ("SIMPLE", Fate::Unsupported(TLS, EXPECT)),
    ("MUTUAL", Fate::Unsupported(TLS, EXPECT)),
    ("ISTIO_MUTUAL", Fate::Unsupported(TLS, EXPECT)),
];
