//! Connections are shared out among three zones of two regions as Istio's `localityLbSetting` says.

use super::{Shop, tcp};
use anyhow::{Context, Result, ensure};
use mesh_tests::echo::Listen;
use mesh_tests::manifest::slice;
use mesh_tests::wait::wait_for;
use mesh_tests::world::NODE_NAME;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Where each of the six pods runs: node, region and zone. The agent's own node is in `eu/a`.
const PLACES: [(&str, &str, &str); 3] = [(NODE_NAME, "eu", "a"), ("node-b", "eu", "b"), ("node-c", "us", "c")];

/// A Node with its labels.
fn node(name: &str, region: &str, zone: &str) -> String {
    let labels = json!({"topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone});
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}).to_string()
}

/// Six pods, two in each zone, with their Nodes.
fn shop() -> Result<Shop> {
    let shop = Shop::with_pods(6)?;
    for (name, region, zone) in PLACES {
        shop.world.apply(&node(name, region, zone))?;
    }
    list(&shop, &[1, 2, 3, 4, 5, 6])?;
    Ok(shop)
}

/// Lists the pods of these numbers as endpoints: 1 and 2 in `eu/a`, 3 and 4 in `eu/b`, 5 and 6 in `us/c`.
fn list(shop: &Shop, numbers: &[usize]) -> Result<()> {
    let listed = numbers.iter().fold(slice("web").tcp(8080).udp(53), |slice, number| {
        let (node, _, zone) = PLACES[(number - 1) / 2];
        slice.endpoint_with(&shop.pods[number - 1], &json!({"nodeName": node, "zone": zone}))
    });
    shop.world.apply(&listed.yaml())
}

/// Puts a `DestinationRule` of turns on `web`, with this `localityLbSetting` and outlier detection.
fn rule(shop: &Shop, setting: &Value) -> Result<()> {
    let balance = json!({"simple": "ROUND_ROBIN", "localityLbSetting": setting});
    put(shop, &json!({"loadBalancer": balance, "outlierDetection": {"consecutive5xxErrors": 5}}))
}

fn put(shop: &Shop, traffic: &Value) -> Result<()> {
    let rule = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"host": "web", "trafficPolicy": traffic},
    });
    shop.world.apply(&rule.to_string())
}

/// Waits until the pods have these weights, those of 0 by their reason; then two laps of turns go by them exactly.
fn takes(shop: &Shop, weights: [u64; 6], note: &str) -> Result<()> {
    let pods = || (1..).map(|number| format!("web-{number}"));
    wait_for(&format!("weights of {weights:?} and the note {note:?}"), || {
        let explanation = shop.world.agent().ask(&["explain", "tcp", "10.96.0.10:80"])?;
        let backends = explanation["backends"].as_array().context("backends")?;
        let found: BTreeMap<_, _> =
            backends.iter().filter_map(|b| Some((b["pod"].as_str()?.to_owned(), b["weight"].as_u64()?))).collect();
        let found = pods().take(6).map(|pod| found.get(&pod).copied().unwrap_or_default());
        ensure!(found.eq(weights) && explanation["notes"].to_string().contains(note), "{explanation:#}");
        Ok(())
    })?;
    let lap = weights.iter().sum::<u64>();
    let mut servers = BTreeMap::<String, u64>::new();
    for _ in 0..2 * lap {
        *servers.entry(shop.client.connect(tcp())?.server()?).or_default() += 1;
    }
    for (pod, weight) in pods().zip(weights) {
        assert_eq!(servers.remove(&pod).unwrap_or_default(), 2 * weight, "{pod} of {weights:?}");
    }
    Ok(())
}

#[test]
fn shares_among_zones_and_regions_are_exact_and_follow_the_nodes() -> Result<()> {
    let shop = shop()?;
    rule(
        &shop,
        &json!({"distribute": [
            {"from": "us/*", "to": {"us/*": 100}},
            {"from": "eu/a/*", "to": {"eu/a/*": 70, "eu/*": 20, "*": 10}},
            {"from": "eu/*", "to": {"eu/b/*": 60, "us/*": 40}},
        ]}),
    )?;
    takes(&shop, [7, 7, 2, 2, 1, 1], "70% to eu/a/*, 20% to eu/*, 10% to *")?;
    // The node moves within its region, then to the other one; so do its endpoints, whose slice goes on to say zone a.
    shop.world.apply(&node(NODE_NAME, "eu", "z"))?;
    takes(&shop, [0, 0, 3, 3, 2, 2], "60% to eu/b/*, 40% to us/*")?;
    shop.world.apply(&node(NODE_NAME, "us", "c"))?;
    takes(&shop, [1, 1, 0, 0, 1, 1], "100% to us/*")?;
    Ok(())
}

#[test]
fn the_zone_fails_over_to_its_region_and_that_to_the_others() -> Result<()> {
    let shop = shop()?;
    rule(&shop, &json!({"enabled": true}))?;
    takes(&shop, [1, 1, 0, 0, 0, 0], "of 6 endpoints 2 take connections, in this node's zone")?;
    let explanation = shop.world.agent().ask(&["explain", "tcp", "10.96.0.10:80"])?;
    let why = |pod: &str| -> Result<(String, String)> {
        let found = explanation["backends"].as_array().context("backends")?.iter().find(|b| b["pod"] == pod);
        let found = found.context("the pod")?;
        Ok((
            found["why"].as_str().unwrap_or_default().to_owned(),
            found["region"].as_str().unwrap_or_default().to_owned(),
        ))
    };
    let said = |why: &str, region: &str| (why.to_owned(), region.to_owned());
    assert_eq!(why("web-3")?, said("in another zone than endpoints that the policy prefers", "eu"));
    assert_eq!(why("web-5")?, said("in another region than endpoints that the policy prefers", "us"));
    list(&shop, &[3, 4, 5, 6])?;
    takes(&shop, [0, 0, 1, 1, 0, 0], "2 take connections, in this node's region")?;
    list(&shop, &[5, 6])?;
    takes(&shop, [0, 0, 0, 0, 1, 1], "2 take connections, in no place that comes first")?;
    list(&shop, &[2, 3, 4, 5, 6])?;
    takes(&shop, [0, 1, 0, 0, 0, 0], "of 5 endpoints 1 take connections, in this node's zone")?;
    // Of other regions, one may be named.
    shop.world.apply(&node(NODE_NAME, "ap", "x"))?;
    shop.world.apply(&node("node-b", "sa", "b"))?;
    list(&shop, &[3, 4, 5, 6])?;
    takes(&shop, [0, 0, 1, 1, 1, 1], "in no place that comes first")?;
    rule(&shop, &json!({"failover": [{"from": "ap", "to": "sa"}]}))?;
    takes(&shop, [0, 0, 1, 1, 0, 0], "in region sa, which this one fails over to")?;
    assert_eq!(shop.world.agent().ask(&["policy", "show", "web"])?[0]["policyFindings"], json!([]));
    // A Node that goes takes its region with it, which is said on the rule.
    shop.world.apply(&node("node-b", "", "b"))?;
    takes(&shop, [0, 0, 1, 1, 1, 1], "in no place that comes first")?;
    let findings = shop.world.agent().ask(&["policy", "show", "web"])?[0]["policyFindings"].to_string();
    assert!(findings.contains("the region of 2 of 10 endpoints is not known"), "{findings}");
    Ok(())
}

#[test]
fn where_all_of_the_zone_are_ejected_its_region_takes_over_until_they_are_back() -> Result<()> {
    let shop = shop()?;
    // Two pods in the node's own zone that refuse, beside those of the other zones.
    let near = [shop.world.pod("near-1")?, shop.world.pod("near-2")?];
    let listed = near.iter().fold(slice("web").tcp(8080), |slice, pod| slice.endpoint_with(pod, &json!({"zone": "a"})));
    let listed = (3..=6).fold(listed, |slice, number: usize| {
        let (node, _, zone) = PLACES[(number - 1) / 2];
        slice.endpoint_with(&shop.pods[number - 1], &json!({"nodeName": node, "zone": zone}))
    });
    shop.world.apply(&listed.yaml())?;
    let traffic = json!({
        "loadBalancer": {"simple": "ROUND_ROBIN", "localityLbSetting": {"enabled": true}},
        "outlierDetection": {"consecutive5xxErrors": 2, "baseEjectionTime": "12s", "maxEjectionPercent": 50},
    });
    put(&shop, &traffic)?;
    let note = |note: &str| {
        wait_for(note, || {
            let notes = shop.world.agent().ask(&["explain", "tcp", "10.96.0.10:80"])?["notes"].to_string();
            ensure!(notes.contains(note), "{notes}");
            Ok(())
        })
    };
    note("of 6 endpoints 2 take connections, in this node's zone")?;
    // Each fails twice; what comes between the second ejection and the agent's answer to it finds nobody else.
    let begun = Instant::now();
    assert!(shop.client.tally(tcp(), 4)?.failed() == 4);
    note("of 6 endpoints 2 take connections, in this node's region; 2 nearer or as near are ejected")?;
    let taken = begun.elapsed();
    let tally = shop.client.tally(tcp(), 60)?;
    assert!(begun.elapsed() < Duration::from_secs(12), "the ejections have run out");
    assert_eq!(
        (tally.failed(), tally.answers.keys().map(String::as_str).collect::<Vec<_>>()),
        (0, vec!["web-3", "web-4"]),
        "after {taken:?}"
    );
    // A new agent learns it from the maps.
    shop.world.agent().restart()?;
    note("of 6 endpoints 2 take connections, in this node's region; 2 nearer or as near are ejected")?;
    assert!(begun.elapsed() < Duration::from_secs(12), "the ejections have run out");
    // They serve again, and when their time is over the others have nothing more to do.
    let _servers = near.iter().map(|pod| pod.serve(&[Listen::tcp(8080)])).collect::<Result<Vec<_>>>()?;
    note("of 6 endpoints 2 take connections, in this node's zone")?;
    let tally = shop.client.tally(tcp(), 20)?;
    assert_eq!(
        (tally.failed(), tally.answers.keys().map(String::as_str).collect::<Vec<_>>()),
        (0, vec!["near-1", "near-2"])
    );
    Ok(())
}
