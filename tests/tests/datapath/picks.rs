//! The kernel's picks, one by one, against what user space says of the same inputs by the same functions.

use super::{Shop, at, tcp};
use anyhow::{Context, Result, ensure};
use mesh_common::address::Address;
use mesh_common::atomic::Atomic64;
use mesh_common::select::maglev::{self, Entry};
use mesh_common::select::{Algorithm, Draw, HashBy, pick};
use mesh_tests::client::Client;
use mesh_tests::manifest::policy;
use mesh_tests::wait::wait_for;
use mesh_tests::world::Agent;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Puts a policy on `web`, and waits until the algorithm and the weights of the pods are in force.
fn balance(shop: &Shop, load_balancer: &Value, weights: &[u64]) -> Result<()> {
    shop.world.apply(&policy(("default", "web"), "web", json!({"loadBalancer": load_balancer})).to_string())?;
    wait_for("the policy", || {
        let service = shop.world.agent().service("default", "web")?;
        ensure!(service["algorithm"] == load_balancer["algorithm"] && service["state"] == "served", "{service}");
        ensure!(service["hash"] == load_balancer["hash"] || load_balancer["hash"].is_null(), "{service}");
        let backends = candidates(shop.world.agent())?;
        let found = (1..=weights.len()).map(|number| backends.get(&format!("web-{number}")).map(|found| found.1));
        ensure!(found.eq(weights.iter().map(|weight| Some(*weight))), "{backends:?}");
        Ok(())
    })
}

/// What `mesh explain` says of each backend of port 80: its probability and its weight, by pod.
fn candidates(agent: &Agent) -> Result<BTreeMap<String, (f64, u64)>> {
    let explanation = agent.ask(&["explain", "tcp", "10.96.0.10:80"])?;
    let backends = explanation["backends"].as_array().context("backends")?;
    let of = |b: &Value| Some((b["pod"].as_str()?.to_owned(), (b["probability"].as_f64()?, b["weight"].as_u64()?)));
    Ok(backends.iter().filter_map(of).collect())
}

#[test]
fn each_turn_goes_where_explain_says_with_and_without_weights() -> Result<()> {
    let shop = Shop::with_pods(3)?;
    let weighted = json!([{"podNamePrefix": "web-1", "weight": 3}, {"podNamePrefix": "web-3", "weight": 2}]);
    for (load_balancer, weights) in [
        (json!({"algorithm": "RoundRobin"}), [1, 1, 1]),
        (json!({"algorithm": "RoundRobin", "weights": weighted}), [3, 1, 2]),
    ] {
        balance(&shop, &load_balancer, &weights)?;
        let mut taken = [0; 3];
        for turn in 0..24 {
            let certain: Vec<String> = candidates(shop.world.agent())?
                .into_iter()
                .filter_map(|(pod, (probability, _))| (probability > 0.999_999).then_some(pod))
                .collect();
            let server = shop.client.connect(tcp())?.server()?;
            assert_eq!(certain, [server.as_str()], "turn {turn} with weights {weights:?}");
            taken[server[4..].parse::<usize>()? - 1] += 1;
        }
        // Four laps, or eight of the shorter.
        assert_eq!(taken, weights.map(|weight| 24 * weight / weights.iter().sum::<u64>()));
    }
    Ok(())
}

/// The client's network namespace, by a connection that it holds.
fn netns_of(agent: &Agent, client: &Client) -> Result<u64> {
    let held = client.connect(tcp())?;
    let connections = agent.ask(&["connection", "list", "-n", "default"])?;
    let [one] = connections.as_array().context("a list")?.as_slice() else {
        anyhow::bail!("one connection, not {connections}")
    };
    let netns = one["netns"].as_u64().context("the cookie of its network namespace")?;
    held.close()?;
    mesh_tests::expect::counts(agent, "web", &[])?;
    Ok(netns)
}

#[test]
fn each_clients_place_in_maglevs_table_is_where_the_kernel_sends_it() -> Result<()> {
    let shop = Shop::with_pods(4)?;
    let agent = shop.world.agent();
    let clients: Vec<Client> = (0..10).map(|n| shop.world.client(&format!("client-{n}"))).collect::<Result<_>>()?;
    let namespaces: Vec<u64> = clients.iter().map(|client| netns_of(agent, client)).collect::<Result<_>>()?;
    // The table is made anew here, from nothing but the pods' addresses and weights.
    for (hash, weights, written) in [
        (HashBy::Client, [1, 1, 1, 1], json!([])),
        (HashBy::ClientAndPort, [1, 1, 1, 1], json!([])),
        (HashBy::Client, [1, 1, 1, 5], json!([{"podNamePrefix": "web-4", "weight": 5}])),
    ] {
        balance(&shop, &json!({"algorithm": "Maglev", "hash": hash.name(), "weights": written}), &weights)?;
        let mut pods: Vec<(Address, u32, &str)> =
            shop.pods.iter().zip(weights).map(|(pod, weight)| (pod.v4().into(), weight as u32, pod.name())).collect();
        pods.sort_unstable();
        let entries: Vec<Entry> =
            pods.iter().map(|(at, weight, _)| Entry { name: maglev::name(at, 0), weight: *weight }).collect();
        let table = maglev::table(&entries, maglev::size(entries.len(), 0));
        for (client, netns) in clients.iter().zip(&namespaces) {
            let port = if hash == HashBy::ClientAndPort { 80 } else { 0 };
            let cursor = Atomic64::new(0);
            let draw = Draw { random: 0, cursor: &cursor, len: table.len() as u32, client: *netns, port };
            let expected = pods[table[pick(Algorithm::Maglev as u8, &draw) as usize] as usize].2;
            assert_eq!(client.connect(tcp())?.server()?, expected, "client {netns} by {}", hash.name());
        }
    }
    Ok(())
}

#[test]
fn at_random_each_backend_has_its_share() -> Result<()> {
    let shop = Shop::with_pods(4)?;
    let weighted = json!([{"podNamePrefix": "web-4", "weight": 3}]);
    balance(&shop, &json!({"algorithm": "Random", "weights": weighted}), &[1, 1, 1, 3])?;
    let tally = shop.client.tally(at("10.96.0.10:80"), 3_000)?;
    assert_eq!((tally.answered(), tally.failed()), (3_000, 0));
    let of = |pod: &str| f64::from(tally.answers.get(pod).copied().unwrap_or_default());
    let expected = [("web-1", 500.0), ("web-2", 500.0), ("web-3", 500.0), ("web-4", 1_500.0)];
    let chi: f64 = expected.iter().map(|(pod, share)| (of(pod) - share).powi(2) / share).sum();
    // Three degrees of freedom: above this in one run of ten million.
    assert!(chi < 35.6, "{chi}: {:?}", tally.answers);
    Ok(())
}
