//! Connections are shared out as the Service's policy says, and as the functions that both sides share foretell.

use super::{Shop, tcp, udp};
use anyhow::{Context, Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::manifest::{policy, slice};
use mesh_tests::wait::wait_for;
use mesh_tests::world::Agent;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Puts a policy on `web`, and waits until it is in force.
fn balance(shop: &Shop, load_balancer: &Value) -> Result<()> {
    shop.world.apply(&policy(("default", "web"), "web", json!({"loadBalancer": load_balancer})).to_string())?;
    in_force(shop.world.agent(), load_balancer["algorithm"].as_str().unwrap_or("Random"))
}

fn in_force(agent: &Agent, algorithm: &str) -> Result<()> {
    wait_for(&format!("{algorithm} to be in force"), || {
        let service = agent.service("default", "web")?;
        ensure!(service["algorithm"] == algorithm && service["state"] == "served", "{service}");
        ensure!(service["policy"] == "web", "{service}");
        Ok(())
    })
}

/// Where so many connections went, each closed before the next.
fn spread(client: &Client, connections: usize) -> Result<BTreeMap<String, usize>> {
    let mut servers = BTreeMap::new();
    for _ in 0..connections {
        *servers.entry(client.connect(tcp())?.server()?).or_default() += 1;
    }
    Ok(servers)
}

/// What `mesh explain` says of each backend: the probability by pod.
fn explained(agent: &Agent) -> Result<BTreeMap<String, f64>> {
    let explanation = agent.ask(&["explain", "tcp", "10.96.0.10:80"])?;
    let backends = explanation["backends"].as_array().context("backends")?;
    let share = |backend: &Value| Some((backend["pod"].as_str()?.to_owned(), backend["probability"].as_f64()?));
    Ok(backends.iter().filter_map(share).collect())
}

/// The weights of the backends of TCP port 80, by pod; those that take nothing have 0.
fn weights(agent: &Agent) -> Result<BTreeMap<String, u64>> {
    let backends = agent.ask(&["backend", "list"])?;
    let backends = backends.as_array().context("a list")?.iter();
    let of_v4 =
        backends.filter(|b| b["servicePort"]["port"] == 80 && b["address"].as_str().is_some_and(|a| a.contains('.')));
    Ok(of_v4.filter_map(|b| Some((b["pod"].as_str()?.to_owned(), b["weight"].as_u64()?))).collect())
}

#[test]
fn a_split_is_kept_exactly_by_turns_and_moved_live() -> Result<()> {
    let shop = Shop::with_pods(4)?;
    // web-4 is the canary; web-1 to web-3 share the rest alike.
    for (stable, canary, expected) in [(90, 10, [3, 3, 3, 1]), (50, 50, [1, 1, 1, 3]), (100, 0, [1, 1, 1, 0])] {
        let split =
            json!([{"podNamePrefix": "web-4", "percent": canary}, {"podNamePrefix": "web-", "percent": stable}]);
        balance(&shop, &json!({"algorithm": "RoundRobin", "split": split}))?;
        let expected: BTreeMap<String, u64> = (1..).map(|n| format!("web-{n}")).zip(expected).collect();
        wait_for("the split", || {
            let weights = weights(shop.world.agent())?;
            ensure!(weights == expected, "{weights:?}");
            Ok(())
        })?;
        // A whole lap of turns gives each exactly its weight.
        let lap = expected.values().sum::<u64>() as usize;
        let mut servers = spread(&shop.client, 2 * lap)?;
        for (pod, weight) in expected {
            assert_eq!(servers.remove(&pod).unwrap_or_default() as u64, 2 * weight, "{pod}");
        }
    }
    Ok(())
}

#[test]
fn the_least_loaded_of_two_is_taken() -> Result<()> {
    let shop = Shop::with_pods(3)?;
    balance(&shop, &json!({"algorithm": "LeastConnections"}))?;
    // Held connections even out: random choice would leave them some ten apart.
    let held = shop.client.connect_many(tcp(), 90)?;
    let mut servers = BTreeMap::<String, usize>::new();
    for one in &held {
        *servers.entry(one.server()?).or_default() += 1;
    }
    assert!(servers.len() == 3 && servers.values().all(|count| (28..=32).contains(count)), "{servers:?}");
    // The one with most connections is never taken while others have fewer.
    let mut kept = Vec::new();
    for one in held {
        if one.server()? == "web-1" { kept.push(one) } else { one.close()? }
    }
    wait_for("the others to be idle", || {
        let shares = explained(shop.world.agent())?;
        ensure!(shares["web-1"] < 1e-9 && (shares["web-2"] - 0.5).abs() < 0.2, "{shares:?}");
        Ok(())
    })?;
    let servers = spread(&shop.client, 60)?;
    assert!(!servers.contains_key("web-1") && servers.len() == 2, "{servers:?}");
    Ok(())
}

#[test]
fn with_maglev_a_client_keeps_its_pod_at_every_port_and_few_move() -> Result<()> {
    let shop = Shop::with_pods(4)?;
    balance(&shop, &json!({"algorithm": "Maglev"}))?;
    let clients: Vec<Client> =
        (0..12).map(|number| shop.world.client(&format!("client-{number}"))).collect::<Result<_>>()?;
    let pod_of = |client: &Client| -> Result<String> {
        let servers = spread(client, 5)?;
        ensure!(servers.len() == 1, "one client went to {servers:?}");
        let by_udp = client.connect_udp(udp())?.ask("who")?.server;
        ensure!(servers.contains_key(&by_udp), "over UDP to {by_udp}, over TCP to {servers:?}");
        Ok(by_udp)
    };
    let before: Vec<String> = clients.iter().map(pod_of).collect::<Result<_>>()?;
    let distinct: BTreeSet<_> = before.iter().collect();
    assert!(distinct.len() > 1, "{before:?}");
    // The last pod goes: its clients move, and hardly any other.
    let pods = |count: usize| slice("web").tcp(8080).udp(53).endpoints(&shop.pods[..count]).yaml();
    shop.world.apply(&pods(3))?;
    wait_for("three backends", || {
        let shares = explained(shop.world.agent())?;
        ensure!(!shares.contains_key("web-4"), "{shares:?}");
        Ok(())
    })?;
    let after: Vec<String> = clients.iter().map(pod_of).collect::<Result<_>>()?;
    let moved = before.iter().zip(&after).filter(|(before, after)| *before != "web-4" && before != after).count();
    assert!(moved <= 2, "{moved} of 12 moved without need: {before:?} {after:?}");
    assert!(after.iter().all(|pod| pod != "web-4"));
    // It comes back: so do they.
    shop.world.apply(&pods(4))?;
    wait_for("four backends", || {
        let shares = explained(shop.world.agent())?;
        ensure!(shares.contains_key("web-4"), "{shares:?}");
        Ok(())
    })?;
    let again: Vec<String> = clients.iter().map(pod_of).collect::<Result<_>>()?;
    assert_eq!(again, before);
    Ok(())
}

/// Waits until `mesh explain` says of so many backends that they are new.
fn new_backends(agent: &Agent, number: usize) -> Result<()> {
    wait_for(&format!("{number} new backends"), || {
        let notes = agent.ask(&["explain", "tcp", "10.96.0.10:80"])?["notes"].to_string();
        ensure!(notes.matches("is new: it takes").count() == number, "{notes}");
        Ok(())
    })
}

#[test]
fn a_new_pod_takes_less_at_first_and_its_share_rises_without_an_agent() -> Result<()> {
    let mut shop = Shop::with_pods(2)?;
    let agent = shop.world.agent();
    balance(&shop, &json!({"slowStart": {"windowSeconds": 600, "minPercent": 5}}))?;
    new_backends(agent, 2)?;
    // All are new: they are served all the same.
    let servers = spread(&shop.client, 60)?;
    assert_eq!(servers.len(), 2, "{servers:?}");
    balance(&shop, &json!({"slowStart": {"windowSeconds": 4, "minPercent": 1}}))?;
    new_backends(agent, 0)?;

    let third = shop.world.backend("web-3", &[Listen::tcp(8080), Listen::udp(53)])?;
    shop.pods.push(third);
    shop.world.apply(&slice("web").tcp(8080).udp(53).endpoints(&shop.pods).yaml())?;
    let agent = shop.world.agent();
    new_backends(agent, 1)?;
    agent.kill()?;
    let early = spread(&shop.client, 60)?.get("web-3").copied().unwrap_or_default();
    assert!(early < 12, "{early} of 60 in the first moments");
    wait_for("its whole share", || {
        let servers = spread(&shop.client, 90)?;
        ensure!(servers.get("web-3").is_some_and(|count| *count >= 20), "{servers:?}");
        Ok(())
    })
}

/// Puts a `DestinationRule` on `web`, and waits until its algorithm is in force.
fn rule(shop: &Shop, traffic: &Value, algorithm: &str) -> Result<()> {
    let rule = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"host": "web", "trafficPolicy": traffic},
    });
    shop.world.apply(&serde_json::to_string(&rule)?)?;
    in_force(shop.world.agent(), algorithm)
}

#[test]
fn what_a_destination_rule_says_of_balancing_is_in_force() -> Result<()> {
    let shop = Shop::with_pods(3)?;
    let agent = shop.world.agent();
    // Port 80 hashes by source; port 53 does not inherit, and takes turns.
    let by_port = json!({
        "loadBalancer": {"consistentHash": {"useSourceIp": true, "maglev": {"tableSize": 1021}}},
        "portLevelSettings": [{"port": {"number": 53}, "loadBalancer": {"simple": "ROUND_ROBIN"}}],
    });
    rule(&shop, &by_port, "Maglev")?;
    assert_eq!(agent.ask(&["policy", "show", "web"])?[0]["policyFindings"], json!([]));
    let clients: Vec<Client> =
        (0..12).map(|number| shop.world.client(&format!("client-{number}"))).collect::<Result<_>>()?;
    let pods: Vec<BTreeMap<String, usize>> = clients.iter().map(|one| spread(one, 4)).collect::<Result<_>>()?;
    assert!(pods.iter().all(|servers| servers.len() == 1), "each client has one pod: {pods:?}");
    assert!(pods.iter().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>().len() > 1, "{pods:?}");
    let asked: BTreeSet<String> =
        (0..3).map(|_| Ok(shop.client.connect_udp(udp())?.ask("who")?.server)).collect::<Result<_>>()?;
    assert_eq!(asked.len(), 3, "port 53 takes turns");

    // The old name of the fewest connections, and new backends that warm up.
    rule(&shop, &json!({"loadBalancer": {"simple": "LEAST_CONN", "warmupDurationSecs": "600s"}}), "LeastConnections")?;
    new_backends(agent, 3)?;
    rule(&shop, &json!({"loadBalancer": {"simple": "LEAST_REQUEST"}}), "LeastConnections")?;
    new_backends(agent, 0)?;
    let held = shop.client.connect_many(tcp(), 60)?;
    let mut servers = BTreeMap::<String, usize>::new();
    for one in &held {
        *servers.entry(one.server()?).or_default() += 1;
    }
    assert!(servers.len() == 3 && servers.values().all(|count| (18..=22).contains(count)), "{servers:?}");
    Ok(())
}
