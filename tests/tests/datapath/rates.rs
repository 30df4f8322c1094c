//! Limits by client and by rate, and limits that only observe.

use super::{Shop, at, tcp};
use anyhow::{Context, Result, bail, ensure};
use mesh_tests::client::{Client, Connection};
use mesh_tests::expect::{counts, refusals};
use mesh_tests::manifest::policy;
use mesh_tests::storm::{Count, Plan, Storm};
use mesh_tests::wait::wait_for;
use nix::libc::ECONNREFUSED;
use serde_json::{Value, json};
use std::time::Instant;

/// Puts limits on `web`, and waits until they are in force.
fn limit(shop: &Shop, limits: &Value) -> Result<()> {
    shop.world.apply(&policy(("default", "web"), "web", json!({"limits": limits})).to_string())?;
    wait_for("the limits", || {
        let service = shop.world.agent().service("default", "web")?;
        ensure!(service["state"] == "served", "{service}");
        for field in ["maxConnections", "maxConnectionsPerClient", "connectionsPerSecond"] {
            ensure!(service[field] == limits[field], "{service}");
        }
        ensure!(service["observe"] == (limits["mode"] == "Observe"), "{service}");
        Ok(())
    })
}

/// How often a reason was counted for `web`.
fn counted(shop: &Shop, reason: &str) -> Result<u64> {
    let detail = shop.world.agent().ask(&["service", "show", "web"])?;
    Ok(detail["reasons"][reason].as_u64().unwrap_or_default())
}

#[test]
fn each_client_has_its_own_limit_over_all_ports_and_families() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    limit(&shop, &json!({"maxConnectionsPerClient": 3}))?;
    let other = shop.world.client("other")?;
    let (mine, datagrams) = (shop.client.connect_many(tcp(), 2)?, shop.client.connect_udp(at("[fd00:10:96::10]:53"))?);
    shop.client.connect(tcp()).unwrap_err();
    let theirs = other.connect_many(tcp(), 3)?;
    other.connect(tcp()).unwrap_err();
    assert_eq!(refusals(shop.world.agent(), "client-limit")?, 2);
    datagrams.close()?;
    let third = shop.client.connect(tcp())?;
    shop.client.connect(tcp()).unwrap_err();

    // Lowered below what is open: nobody is ended, and new ones wait. Raised: they come.
    limit(&shop, &json!({"maxConnectionsPerClient": 1}))?;
    assert!(mine.iter().all(|one| one.server().is_ok()));
    third.close()?;
    shop.client.connect(tcp()).unwrap_err();
    limit(&shop, &json!({"maxConnectionsPerClient": 4}))?;
    let more = shop.client.connect_many(tcp(), 2)?;
    shop.client.connect(tcp()).unwrap_err();
    drop((mine, more, theirs));
    counts(shop.world.agent(), "web", &[])?;
    // A client that connects anew with the slot that it holds is not refused because of itself.
    limit(&shop, &json!({"maxConnectionsPerClient": 1}))?;
    let socket = shop.client.connect_udp(at("10.96.0.10:53"))?;
    socket.connect(at("10.96.0.10:53"))?;
    socket.close()?;
    Ok(())
}

#[test]
fn under_storm_no_client_holds_more_than_its_limit_and_nothing_leaks() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    limit(&shop, &json!({"maxConnectionsPerClient": 5}))?;
    let pods = [shop.world.pod("storm-1")?, shop.world.pod("storm-2")?];
    let plan = Plan::to(tcp()).hold(4).connects(6_000);
    let storms: Vec<Storm> = pods.iter().map(|pod| Storm::start(pod, 4, &plan)).collect::<Result<_>>()?;
    for (number, storm) in storms.iter().enumerate() {
        storm.wait_connected(300)?;
        storm.kill(number)?;
    }
    for storm in storms {
        let count = storm.finish()?;
        assert!(count.most_open <= 5 && count.most_open > 2, "{count:?}");
        assert_eq!((count.open, count.failed), (0, 0), "{count:?}");
        assert!(count.refused > 0, "{count:?}");
    }
    counts(shop.world.agent(), "web", &[])?;
    // Nothing is left of the killed ones: each pod may hold five again, and no more.
    for (number, pod) in ["again-1", "again-2"].into_iter().enumerate() {
        let client = shop.world.client(pod)?;
        let held = client.connect_many(tcp(), 5)?;
        client.connect(tcp()).unwrap_err();
        drop((held, number));
    }
    let since = shop.world.agent().status()?["audit"]["at"].clone();
    wait_for("a recount that finds nothing off", || {
        let audit = shop.world.agent().status()?["audit"].clone();
        ensure!(audit["at"].is_string() && audit["at"] != since && audit["drifted"] == 0, "{audit}");
        Ok(())
    })
}

/// Connects until `seconds` have passed and the last try was refused: how many were admitted, and for how long at least and
/// at most it was tried, seconds.
fn hammer(client: &Client, seconds: f64) -> Result<(f64, f64, f64)> {
    let began = Instant::now();
    let mut admitted = f64::from(u8::from(client.connect(tcp()).is_ok()));
    let first = Instant::now();
    loop {
        let before = first.elapsed().as_secs_f64();
        match client.connect(tcp()) {
            Ok(_) => admitted += 1.0,
            Err(error) if error.raw_os_error() != Some(ECONNREFUSED) => return Err(error.into()),
            Err(_) if before > seconds => return Ok((admitted, before, began.elapsed().as_secs_f64())),
            Err(_) => {}
        }
    }
}

#[test]
fn new_connections_come_exactly_at_the_rate_after_the_burst() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    // The burst is two seconds' worth: while the client is not scheduled for less than that, nothing is lost of the rate.
    limit(&shop, &json!({"connectionsPerSecond": 50, "connectionBurst": 100}))?;
    let (admitted, least, most) = hammer(&shop.client, 3.0)?;
    assert!(admitted <= 100.0 + 50.0 * most, "{admitted} in {most} s");
    assert!(admitted >= 100.0 + 50.0 * least - 2.0, "{admitted} in {least} s");
    assert!(refusals(shop.world.agent(), "service-rate")? > 0);

    // Changed while it is spent: the new one holds at once, with nothing of the old one's burst.
    limit(&shop, &json!({"connectionsPerSecond": 200, "connectionBurst": 400}))?;
    let before = refusals(shop.world.agent(), "service-rate")?;
    let (admitted, least, most) = hammer(&shop.client, 2.0)?;
    assert!(admitted <= 400.0 + 200.0 * most, "{admitted} in {most} s");
    assert!(admitted >= 200.0 * least - 2.0, "{admitted} in {least} s");
    assert!(refusals(shop.world.agent(), "service-rate")? > before);

    // The limit goes: at once everything goes through. By client: each has its own.
    limit(&shop, &json!({"connectionsPerSecondPerClient": 1, "connectionBurstPerClient": 20}))?;
    let other = shop.world.client("other")?;
    for client in [&shop.client, &other] {
        let (admitted, least, most) = hammer(client, 0.0)?;
        assert!(admitted >= 20.0 + least - 2.0 && admitted <= 20.0 + most, "{admitted} in {least} to {most} s");
    }
    assert!(refusals(shop.world.agent(), "client-rate")? >= 2);
    Ok(())
}

#[test]
fn under_storm_the_rate_is_exact_over_all_processes() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    limit(&shop, &json!({"connectionsPerSecond": 300, "connectionBurst": 600}))?;
    let pods = [shop.world.pod("storm-1")?, shop.world.pod("storm-2")?];
    let began = Instant::now();
    let storms: Vec<Storm> = pods.iter().map(|pod| Storm::start(pod, 3, &Plan::to(tcp()))).collect::<Result<_>>()?;
    let connected = || storms.iter().map(|storm| storm.count().connected).sum::<u64>();
    let so_many = |number: u64| {
        wait_for(&format!("{number} connections"), || {
            let connected = connected();
            ensure!(connected >= number, "{connected}");
            Ok(())
        })
    };
    so_many(700)?;
    storms[0].kill(1)?;
    so_many(1_100)?;
    storms.iter().for_each(Storm::stop);
    let counts: Vec<Count> = storms.into_iter().map(Storm::finish).collect::<Result<_>>()?;
    assert!(counts.iter().all(|count| count.failed == 0 && count.refused > 0), "{counts:?}");
    let connected: u64 = counts.iter().map(|count| count.connected).sum();
    let most = 600 + 300 * began.elapsed().as_nanos() / 1_000_000_000;
    assert!(u128::from(connected) <= most, "{connected} of at most {most}");
    Ok(())
}

#[test]
fn observing_counts_what_would_be_refused_and_refuses_nothing() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let limits = json!({"maxConnections": 4, "maxConnectionsPerBackend": 1, "maxConnectionsPerClient": 2,
        "connectionsPerSecond": 1, "connectionsPerSecondPerClient": 1, "mode": "Observe"});
    limit(&shop, &limits)?;
    let held = shop.client.connect_many(tcp(), 10)?;
    counts(shop.world.agent(), "web", &counted_open(&held)?)?;
    // Of ten held: from the fifth the Service, from the third its backends and the client.
    for (reason, least, most) in [
        ("observed-service-limit", 6, 6),
        ("observed-backend-limit", 8, 8),
        ("observed-client-limit", 8, 8),
        ("observed-service-rate", 5, 9),
        ("observed-client-rate", 5, 9),
    ] {
        let count = counted(&shop, reason)?;
        assert!((least..=most).contains(&count), "{reason}: {count}");
    }
    assert_eq!(shop.world.agent().service("default", "web")?["refused"], 0);
    // Enforced from now on: what is open stays, and nobody new comes in.
    let mut enforced = limits;
    enforced["mode"] = json!("Enforce");
    limit(&shop, &enforced)?;
    shop.client.connect(tcp()).unwrap_err();
    assert!(held.iter().all(|one| one.server().is_ok()));
    drop(held);
    counts(shop.world.agent(), "web", &[])
}

/// How many of the connections each pod has.
fn counted_open(held: &[Connection]) -> Result<Vec<(&'static str, u64)>> {
    let on = |name: &str| -> Result<u64> {
        let servers: Vec<String> = held.iter().map(Connection::server).collect::<Result<_, _>>()?;
        Ok(servers.iter().filter(|server| *server == name).count() as u64)
    };
    Ok(vec![("web-1", on("web-1")?), ("web-2", on("web-2")?)])
}

/// What `mesh plan` says of the manifests with these limits in place of the present ones.
fn planned(shop: &Shop, number: usize, limits: &Value) -> Result<(Value, String)> {
    let folder = shop.world.home().path(&format!("planned-{number}"));
    std::fs::create_dir(&folder)?;
    for entry in std::fs::read_dir(shop.world.manifests().directory())? {
        let entry = entry?;
        std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    let planned = policy(("default", "planned"), "web", json!({"limits": limits}));
    std::fs::write(folder.join("planned.yaml"), planned.to_string())?;
    let arguments = ["plan", "--manifests", folder.to_str().context("a path")?];
    let plan = shop.world.agent().ask(&arguments)?;
    let text = shop.world.agent().command(&arguments)?.output()?.stdout;
    Ok((plan, String::from_utf8(text)?))
}

#[test]
fn a_plan_says_what_limits_would_do_to_the_present_load() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let other = shop.world.client("other")?;
    let mut held = shop.client.connect_many(tcp(), 20)?;
    held.extend(other.connect_many(tcp(), 11)?);
    counts(shop.world.agent(), "web", &counted_open(&held)?)?;
    for (number, (limits, refused, words)) in [
        (json!({"maxConnections": 25}), 6, "would refuse about 6 of 31 connections"),
        (json!({"maxConnectionsPerClient": 15}), 5, "would refuse about 5 of 31 connections"),
        (json!({"maxConnectionsPerClient": 10, "mode": "Observe"}), 11, "would observe about 11 of 31 connections"),
        (json!({"maxConnections": 31}), 0, "would refuse none of 31 connections"),
    ]
    .into_iter()
    .enumerate()
    {
        let (plan, text) = planned(&shop, number, &limits)?;
        let [change] = plan["changes"].as_array().context("changes")?.as_slice() else { bail!("one change: {plan}") };
        assert_eq!(change["estimate"]["refused"], refused, "{plan}");
        assert_eq!(change["estimate"]["of"], 31, "{plan}");
        assert!(text.contains(words), "{text}");
    }
    Ok(())
}
