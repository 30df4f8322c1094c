//! What the real API server takes and what it refuses of a TrafficPolicy, and with which words.

use anyhow::{Context, Result, ensure};
use mesh_tests::cluster::ApiServer;
use mesh_tests::wait::wait_for;
use mesh_tests::world::World;
use std::path::Path;

/// Specs that it takes, besides what they are attached to.
const GOOD: &[&str] = &[
    "limits: {maxConnections: 5}",
    "limits: {maxConnections: 0}",
    "limits: {maxConnectionsPerBackend: 1}",
    "limits: {maxConnections: 9007199254740993, maxConnectionsPerBackend: 4}",
    "loadBalancer: {algorithm: Random}",
    "loadBalancer: {algorithm: RoundRobin}",
    "loadBalancer: {algorithm: LeastConnections}",
    "loadBalancer: {algorithm: Maglev}",
    "loadBalancer: {algorithm: Maglev, hash: Client}",
    "loadBalancer: {algorithm: Maglev, hash: ClientAndPort}",
    "loadBalancer: {preferSameZone: false}",
    "loadBalancer: {slowStart: {windowSeconds: 1}}",
    "loadBalancer: {slowStart: {windowSeconds: 86400, minPercent: 100, aggression: 1000}}",
    "loadBalancer: {weights: [{podNamePrefix: web-, weight: 0}, {nodeName: node-1, weight: 1000}, {zone: z, weight: 1}]}",
    "loadBalancer: {split: [{podNamePrefix: canary-, percent: 5}, {podNamePrefix: web-, percent: 95, fromZone: z}]}",
    "limits: {maxConnections: 5}\nloadBalancer: {algorithm: RoundRobin}",
    "limits: {maxConnectionsPerClient: 4, mode: Observe}",
    "limits: {maxInboundConnectionsPerBackend: 0}",
    "limits: {maxInboundConnectionsPerBackend: 4, mode: Observe}",
    "limits: {connectionsPerSecond: 100, connectionBurst: 20}",
    "limits: {maxFlowsPerClient: 900, flowIdleSeconds: 3600, mode: Observe}",
    "outlierDetection: {consecutiveFailures: 3}",
    "outlierDetection: {consecutiveFailures: 3, slowAnswerPercent: 300, slowAnswerMilliseconds: 20}",
    "outlierDetection: {consecutiveFailures: 3, healthCheck: {intervalSeconds: 5, timeoutSeconds: 60}}",
    "drain: {mode: Keep}",
    "connections: {idleTimeoutSeconds: 1}",
    "connections: {idleTimeoutSeconds: 3600, maxDurationSeconds: 2592000}",
    "drain: {mode: End}",
    "drain: {mode: End, gracePeriodSeconds: 86400}",
];

/// Specs that it refuses, and a part of what it says.
const BAD: &[(&str, &str)] = &[
    // Nothing is asked for: a misspelt field is dropped before the rules see it.
    ("{}", "spec asks for nothing, or only by names that do not exist: write"),
    ("limit: {maxConnections: 5}", "spec asks for nothing, or only by names that do not exist: write"),
    ("limits: {}", "limits asks for nothing, or only by names that do not exist: write"),
    ("limits: {maxConnection: 5}", "limits asks for nothing, or only by names that do not exist: write"),
    ("loadBalancer: {}", "loadBalancer asks for nothing, or only by names that do not exist: write algorithm"),
    ("loadBalancer: {algorythm: Random}", "loadBalancer asks for nothing"),
    ("limits: {maxConnections: 5}\nloadBalancer: {}", "loadBalancer asks for nothing"),
    // Numbers.
    ("limits: {maxConnections: -1}", "should be greater than or equal to 0"),
    ("limits: {maxConnections: 1.5}", "must be of type integer"),
    ("limits: {maxConnections: '5'}", "must be of type integer"),
    ("limits: {maxConnectionsPerBackend: -1}", "should be greater than or equal to 0"),
    ("loadBalancer: {slowStart: {windowSeconds: 0}}", "should be greater than or equal to 1"),
    ("loadBalancer: {slowStart: {windowSeconds: 86401}}", "should be less than or equal to 86400"),
    ("loadBalancer: {slowStart: {windowSeconds: 60, minPercent: 0}}", "should be greater than or equal to 1"),
    ("loadBalancer: {slowStart: {windowSeconds: 60, aggression: 1001}}", "should be less than or equal to 1000"),
    ("loadBalancer: {slowStart: {minPercent: 10}}", "windowSeconds: Required value"),
    ("loadBalancer: {weights: [{zone: z, weight: 1001}]}", "should be less than or equal to 1000"),
    ("loadBalancer: {split: [{zone: z, percent: 101}]}", "should be less than or equal to 100"),
    ("limits: {maxInboundConnectionsPerBackend: -1}", "should be greater than or equal to 0"),
    ("limits: {connectionsPerSecond: 0}", "should be greater than or equal to 1"),
    ("limits: {maxFlowsPerClient: 901}", "should be less than or equal to 900"),
    ("limits: {maxConnections: 9, flowIdleSeconds: 9}", "flowIdleSeconds needs maxFlowsPerClient"),
    ("outlierDetection: {}", "consecutiveFailures: Required value"),
    ("outlierDetection: {consecutiveFailures: 1, slowAnswerPercent: 100}", "should be greater than or equal to 110"),
    ("outlierDetection: {consecutiveFailures: 1, slowAnswerMilliseconds: 5}", "says nothing without slowAnswerPercent"),
    ("outlierDetection: {consecutiveFailures: 3, healthCheck: {}}", "intervalSeconds: Required value"),
    (
        "outlierDetection: {consecutiveFailures: 3, healthCheck: {intervalSeconds: 1, timeoutSeconds: 61}}",
        "should be less than or equal to 60",
    ),
    ("connections: {}", "connections asks for nothing"),
    ("connections: {idleTimeout: 5}", "connections asks for nothing"),
    ("connections: {idleTimeoutSeconds: 0}", "should be greater than or equal to 1"),
    ("connections: {idleTimeoutSeconds: 0.5}", "must be of type integer"),
    ("connections: {maxDurationSeconds: 2592001}", "should be less than or equal to 2592000"),
    ("drain: {}", "mode: Required value"),
    ("drain: {gracePeriodSeconds: 5}", "mode: Required value"),
    ("drain: {mode: End, gracePeriodSeconds: 0}", "should be greater than or equal to 1"),
    ("drain: {mode: End, gracePeriodSeconds: 86401}", "should be less than or equal to 86400"),
    ("drain: {mode: Keep, gracePeriodSeconds: 5}", "gracePeriodSeconds needs mode End"),
    // Words.
    ("drain: {mode: Later}", "Unsupported value: \"Later\": supported values: \"Keep\", \"End\""),
    ("limits: {maxConnections: 1, mode: Sometimes}", "Unsupported value: \"Sometimes\""),
    ("loadBalancer: {algorithm: Fastest}", "Unsupported value: \"Fastest\": supported values: \"Random\""),
    ("loadBalancer: {algorithm: random}", "Unsupported value: \"random\""),
    ("loadBalancer: {algorithm: Maglev, hash: Cookie}", "Unsupported value: \"Cookie\""),
    ("loadBalancer: {preferSameZone: 'yes'}", "must be of type boolean"),
    // Which endpoints.
    ("loadBalancer: {weights: [{weight: 1}]}", "name exactly one of podNamePrefix, nodeName and zone"),
    (
        "loadBalancer: {weights: [{zone: z, nodeName: node-1, weight: 1}]}",
        "name exactly one of podNamePrefix, nodeName and zone",
    ),
    ("loadBalancer: {split: [{percent: 5, fromZone: z}]}", "name exactly one of podNamePrefix, nodeName and zone"),
    ("loadBalancer: {weights: [{zone: '', weight: 1}]}", "should be at least 1 chars long"),
    ("loadBalancer: {weights: [{zone: z}]}", "weight: Required value"),
    ("loadBalancer: {split: [{zone: z}]}", "percent: Required value"),
];

/// What a policy may not be attached to, and a part of what the server says.
const BAD_TARGETS: &[(&str, &str)] = &[
    ("[]", "should have at least 1 items"),
    ("[{kind: Pod, name: web}]", "Unsupported value: \"Pod\": supported values: \"Service\""),
    ("[{group: apps, kind: Service, name: web}]", "Unsupported value: \"apps\""),
    ("[{kind: Service, name: ''}]", "should be at least 1 chars long"),
    ("[{kind: Service}]", "name: Required value"),
    ("[{name: web}]", "kind: Required value"),
    ("[{kind: Service, name: web}, {kind: Service, name: web}]", "Duplicate value"),
];

fn policy(targets: &str, spec: &str) -> String {
    let spec: String = spec.lines().filter(|line| *line != "{}").flat_map(|line| ["  ", line, "\n"]).collect();
    format!(
        "apiVersion: mesh.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: tried, namespace: default}}\n\
         spec:\n  targetRefs: {targets}\n{spec}"
    )
}

/// What the server would say, field names that do not exist passed on to it.
fn tried(api: &ApiServer, document: &str) -> Result<String> {
    api.kubectl().run_with(&["create", "--dry-run=server", "--validate=false", "-f", "-"], document)
}

fn installed(world: &World) -> Result<ApiServer> {
    let api = ApiServer::beside(world)?;
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart/mesh/crds/trafficpolicies.yaml");
    api.apply(&std::fs::read_to_string(&definition).with_context(|| format!("read {}", definition.display()))?)?;
    wait_for("the kind to be served", || tried(&api, &policy("[{kind: Service, name: web}]", GOOD[0])))?;
    Ok(api)
}

/// One server for all of it: each would cost seconds.
#[test]
fn the_api_server_takes_what_mesh_understands_and_refuses_the_rest_with_a_reason() -> Result<()> {
    let world = World::new()?;
    let api = installed(&world)?;
    documents(&api)?;
    a_misspelt_field_is_named_where_the_client_asks_for_that(&api)?;
    whoever_may_write_policies_does_not_write_their_status_by_the_way(&api)
}

fn documents(api: &ApiServer) -> Result<()> {
    let web = "[{kind: Service, name: web}]";
    let mut wrong = Vec::new();
    for spec in GOOD {
        if let Err(error) = tried(api, &policy(web, spec)) {
            wrong.push(format!("refused: {spec}: {error:#}"));
        }
    }
    let bad = BAD.iter().map(|(spec, said)| (policy(web, spec), said));
    let targets = BAD_TARGETS.iter().map(|(targets, said)| (policy(targets, GOOD[0]), said));
    for (document, said) in bad.chain(targets) {
        match tried(api, &document) {
            Ok(_) => wrong.push(format!("taken:\n{document}")),
            Err(error) if format!("{error:#}").contains(said) => {}
            Err(error) => wrong.push(format!("{said:?} was expected of\n{document}{error:#}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn a_misspelt_field_is_named_where_the_client_asks_for_that(api: &ApiServer) -> Result<()> {
    let misspelt = policy("[{kind: Service, name: web}]", "limits: {maxConnections: 5, maxConnection: 6}");
    let strict = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    let error = api.kubectl().run_with(&strict, &misspelt).err().context("it was taken")?;
    ensure!(format!("{error:#}").contains("unknown field \"spec.limits.maxConnection\""), "{error:#}");
    Ok(())
}

fn whoever_may_write_policies_does_not_write_their_status_by_the_way(api: &ApiServer) -> Result<()> {
    let status = "status: {conditions: [{type: Accepted, status: 'True', reason: Accepted, message: '', \
                  lastTransitionTime: '2026-01-01T00:00:00Z'}]}\n";
    api.apply(&(policy("[{kind: Service, name: web}]", GOOD[0]) + status))?;
    let stored = api.kubectl().get(&["trafficpolicy", "tried"])?;
    ensure!(stored["status"].is_null(), "{stored}");
    ensure!(stored["spec"]["targetRefs"][0]["group"] == "", "the default is filled in: {stored}");
    Ok(())
}
