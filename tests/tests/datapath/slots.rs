//! A socket holds at most one slot, and gives it back exactly once, however it ends.

use super::script::Script;
use super::{ADDRESSES, Shop, at, tcp, udp};
use anyhow::{Context, Result, ensure};
use mesh_tests::echo::Listen;
use mesh_tests::expect::{counts, open, tcp_reaches, tcp_refused, udp_reaches};
use mesh_tests::manifest::{limits, service, slice};
use mesh_tests::storm::{Plan, Storm};
use mesh_tests::wait::wait_for;
use mesh_userspace::agent::engine::descriptors;
use mesh_userspace::datapath::Pins;
use mesh_userspace::maps::{KernelMaps, Maps};

#[test]
fn a_closed_or_reset_connection_gives_its_slot_back() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let agent = shop.world.agent();
    for address in ADDRESSES {
        let (tcp, udp) = (at(&format!("{address}:80")), at(&format!("{address}:53")));
        let (closed, reset) = (shop.client.connect(tcp)?, shop.client.connect(tcp)?);
        let datagrams = shop.client.connect_udp(udp)?;
        counts(agent, "web", &[("web-1", 3)])?;
        closed.close()?;
        counts(agent, "web", &[("web-1", 2)])?;
        reset.reset()?;
        counts(agent, "web", &[("web-1", 1)])?;
        datagrams.close()?;
        counts(agent, "web", &[])?;
    }
    Ok(())
}

#[test]
fn exit_and_sigkill_give_every_slot_back() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let agent = shop.world.agent();
    let killed = shop.world.client("killed")?;
    let held = killed.connect_many(tcp(), 50)?;
    let datagrams: Vec<_> = (0..50).map(|_| killed.connect_udp(udp())).collect::<Result<_, _>>()?;
    assert_eq!(open(agent, "web")?.service, 100);
    killed.kill();
    counts(agent, "web", &[])?;
    drop((held, datagrams));

    let mut script = Script::start(
        &shop.world.pod("script")?,
        "
held = [socket.create_connection(('10.96.0.10', 80)) for _ in range(30)]
say('held')
os._exit(0)
",
    )?;
    script.expect("held")?;
    assert_eq!(open(agent, "web")?.service, 30);
    script.go_on()?;
    counts(agent, "web", &[])
}

#[test]
fn a_slot_is_given_back_with_the_last_descriptor() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let agent = shop.world.agent();
    let mut script = Script::start(
        &shop.world.pod("script")?,
        "
s = socket.create_connection(('10.96.0.10', 80))
d = s.dup()
s.close()
say('one of two is closed')
reader, writer = os.pipe()
if os.fork() == 0:
    os.close(writer)
    os.read(reader, 1)
    os._exit(0)
d.close()
say('the child has it')
os.close(writer)
os.wait()
say('the child has ended')
",
    )?;
    for line in ["one of two is closed", "the child has it"] {
        script.expect(line)?;
        counts(agent, "web", &[("web-1", 1)])?;
        script.go_on()?;
    }
    script.expect("the child has ended")?;
    counts(agent, "web", &[])
}

#[test]
fn a_connect_that_the_backend_refuses_gives_its_slot_back() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let agent = shop.world.agent();
    // Nobody listens there.
    shop.world.apply(&service("shut").cluster_ip("10.96.0.11").tcp(80, 81).udp(53, 54).yaml())?;
    shop.world.apply(&slice("shut").tcp(81).udp(54).endpoint(&shop.pods[0]).yaml())?;
    shop.world.apply(&limits("shut", Some(1), None))?;
    wait_for("the limit", || {
        let limit = &agent.service("default", "shut")?["maxConnections"];
        ensure!(limit == 1, "{limit}");
        Ok(())
    })?;
    tcp_refused(&shop.client, at("10.96.0.11:80"))?;
    counts(agent, "shut", &[])?;
    // All of these went through the one slot to the backend: none was refused for the limit.
    let mut script = Script::start(
        &shop.world.pod("script")?,
        "
s = socket.socket()
say(*{attempt(s.connect, ('10.96.0.11', 80)) for _ in range(50)})
say(*{attempt(socket.socket().connect, ('10.96.0.11', 80)) for _ in range(50)})
",
    )?;
    script.expect("ECONNREFUSED")?;
    counts(agent, "shut", &[])?;
    script.go_on()?;
    script.expect("ECONNREFUSED")?;
    counts(agent, "shut", &[])?;
    assert_eq!(mesh_tests::expect::refusals(agent, "service-limit")?, 0);
    Ok(())
}

#[test]
fn a_connect_that_fails_on_this_host_is_retried_within_the_same_slot() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let agent = shop.world.agent();
    let pod = shop.world.pod("script")?;
    // Only its neighbours can be reached from this pod, so 192.0.2.1 is ENETUNREACH before any packet.
    pod.netns().ip("route del default\n")?;
    let far =
        slice("far").tcp(8080).yaml().replace("\"endpoints\":[]", "\"endpoints\":[{\"addresses\":[\"192.0.2.1\"]}]");
    shop.world.apply(&service("far").cluster_ip("10.96.0.11").tcp(80, 8080).udp(53, 8080).yaml())?;
    shop.world.apply(&far)?;
    shop.world.apply(&limits("far", Some(1), Some(1)))?;
    wait_for("the Service and its limit", || {
        let service = agent.service("default", "far")?;
        ensure!(service["maxConnections"] == 1 && service["backends"]["eligible"] == 1, "{service}");
        Ok(())
    })?;
    let mut script = Script::start(
        &pod,
        "
s = socket.socket()
say(*{attempt(s.connect, ('10.96.0.11', 80)) for _ in range(50)})
say(attempt(s.connect, ('10.96.0.11', 80)))
say(attempt(s.connect, ('10.96.0.10', 80)))
s.close()
s = socket.socket()
say(attempt(s.connect, ('10.96.0.11', 80)))
s.close()
say('closed')
",
    )?;
    // It is never refused because of itself, and holds one slot at most.
    script.expect("ENETUNREACH")?;
    assert!(open(agent, "far")?.service <= 1);
    // What it was to reach becomes reachable: the same socket connects.
    shop.world.apply(&slice("far").tcp(8080).endpoint(&shop.pods[0]).yaml())?;
    tcp_reaches_or_full(&shop)?;
    shop.world.apply(&far)?;
    wait_for("the far endpoint to be back", || {
        let backends = agent.ask(&["backend", "list"])?.to_string();
        ensure!(backends.contains("192.0.2.1"), "{backends}");
        Ok(())
    })?;
    script.go_on()?;
    script.expect("ENETUNREACH")?;
    assert!(open(agent, "far")?.service <= 1);
    // The same socket goes to another Service: it holds a slot there, and none here.
    script.go_on()?;
    script.expect("ok")?;
    counts(agent, "web", &[("web-1", 1)])?;
    counts(agent, "far", &[])?;
    script.go_on()?;
    script.expect("ENETUNREACH")?;
    counts(agent, "web", &[])?;
    assert!(open(agent, "far")?.service <= 1);
    script.go_on()?;
    script.expect("closed")?;
    counts(agent, "far", &[])
}

/// The Service `far` has one slot; while the script's socket holds it nobody else is let in.
fn tcp_reaches_or_full(shop: &Shop) -> Result<()> {
    wait_for("the near endpoint to be in force", || {
        let backends = shop.world.agent().ask(&["backend", "list"])?;
        let near = backends.as_array().is_some_and(|all| {
            all.iter().any(|b| b["service"]["name"] == "far" && b["pod"] == "web-1" && b["state"] == "eligible")
        });
        ensure!(near, "{backends}");
        Ok(())
    })
}

#[test]
fn a_udp_socket_that_connects_elsewhere_holds_one_slot() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let agent = shop.world.agent();
    let other = shop.world.backend("other-1", &[Listen::udp(5353)])?;
    shop.world.apply(&service("other").cluster_ip("10.96.0.11").udp(53, 5353).yaml())?;
    shop.world.apply(&slice("other").udp(5353).endpoint(&other).yaml())?;
    udp_reaches(&shop.client, at("10.96.0.11:53"), &["other-1"])?;
    let socket = shop.client.connect_udp(udp())?;
    counts(agent, "web", &[("web-1", 1)])?;
    for _ in 0..5 {
        socket.connect(udp())?;
    }
    counts(agent, "web", &[("web-1", 1)])?;
    socket.connect(at("10.96.0.11:53"))?;
    assert_eq!((socket.ask("who")?.server.as_str(), socket.peer()?), ("other-1", at("10.96.0.11:53")));
    counts(agent, "web", &[])?;
    counts(agent, "other", &[("other-1", 1)])?;
    // To a pod itself: it holds nothing.
    socket.connect(shop.pods[0].at(53))?;
    assert_eq!((socket.ask("who")?.server.as_str(), socket.peer()?), ("web-1", shop.pods[0].at(53)));
    counts(agent, "other", &[])?;
    socket.connect(udp())?;
    counts(agent, "web", &[("web-1", 1)])?;
    // A refused connect leaves it where it was.
    socket.connect(at("10.96.0.11:54")).unwrap_err();
    assert_eq!((socket.ask("who")?.server.as_str(), socket.peer()?), ("web-1", udp()));
    counts(agent, "web", &[("web-1", 1)])?;
    socket.close()?;
    counts(agent, "web", &[])
}

#[test]
fn a_server_that_closes_gives_the_slot_back_with_the_client() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let agent = shop.world.agent();
    let held = shop.client.connect_many(tcp(), 10)?;
    let on = |name: &str| held.iter().filter(|one| one.server().is_ok_and(|server| server == name)).count() as u64;
    let (first, second) = (on("web-1"), on("web-2"));
    counts(agent, "web", &[("web-1", first), ("web-2", second)])?;
    // The pod dies, and its connections with it; the client has not closed its ends yet.
    shop.world.apply(&slice("web").tcp(8080).udp(53).endpoint(&shop.pods[1]).yaml())?;
    tcp_reaches(&shop.client, tcp(), &["web-2"])?;
    shop.pods[0].cgroup().kill()?;
    drop(held);
    counts(agent, "web", &[])
}

#[test]
fn counts_agree_with_a_recount_after_much_coming_and_going() -> Result<()> {
    let shop = Shop::with_pods(3)?;
    let agent = shop.world.agent();
    let (streams, datagrams) = (shop.world.pod("streams")?, shop.world.pod("datagrams")?);
    let tcp_storm = Storm::start(&streams, 4, &Plan::to(tcp()).hold(6))?;
    let udp_storm = Storm::start(&datagrams, 2, &Plan::to(udp()).hold(6).udp())?;
    tcp_storm.wait_connected(1000)?;
    udp_storm.wait_connected(500)?;
    tcp_storm.kill(1)?;
    udp_storm.kill(0)?;
    tcp_storm.wait_connected(500)?;
    tcp_storm.stop();
    udp_storm.stop();
    for count in [tcp_storm.finish()?, udp_storm.finish()?] {
        assert_eq!((count.failed, count.refused, count.open), (0, 0, 0), "{count:?}");
    }
    counts(agent, "web", &[])?;
    let since = agent.status()?["audit"]["at"].clone();
    let audit = wait_for("the next recount", || {
        let audit = agent.status()?["audit"].clone();
        ensure!(audit["at"].is_string() && audit["at"] != since, "{audit}");
        Ok(audit)
    })?;
    let [connections, drifted, repaired] = ["connections", "drifted", "repaired"].map(|figure| audit[figure].as_u64());
    assert_eq!((connections, drifted, repaired), (Some(0), Some(0), Some(0)), "{audit}");
    assert_eq!(audit["givenBack"].as_u64().context("a number")?, 0, "nothing was left for the agent to give back");
    Ok(())
}

#[test]
fn a_count_that_is_off_is_set_right() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let agent = shop.world.agent();
    let _held = shop.client.connect(tcp())?;
    counts(agent, "web", &[("web-1", 1)])?;
    let maps = KernelMaps::new(descriptors(&Pins::new(agent.pins()))?)?;
    let arrays = maps.arrays();
    for active in
        arrays.services.iter().map(|entry| &entry.active).chain(arrays.backends.iter().map(|entry| &entry.active))
    {
        if active.load() == 1 {
            active.fetch_add(3);
        }
    }
    assert_eq!(open(agent, "web")?.service, 4);
    counts(agent, "web", &[("web-1", 1)])?;
    let audit = agent.status()?["audit"].clone();
    assert_eq!((&audit["repaired"], &audit["drifted"]), (&2.into(), &0.into()), "{audit}");
    assert!(agent.log().contains("is_repaired=true"), "{}", agent.log());
    Ok(())
}

#[test]
fn a_socket_that_ended_unseen_gives_its_slots_back_and_one_that_lives_keeps_them() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let agent = shop.world.agent();
    let held = shop.client.connect(tcp())?;
    counts(agent, "web", &[("web-1", 1)])?;
    let mut maps = KernelMaps::new(descriptors(&Pins::new(agent.pins()))?)?;
    let (cookie, connection) = maps.connections()?.pop().context("the connection")?;
    assert!(maps.restore_connection(!cookie, &connection)?);
    let arrays = maps.arrays();
    let active = arrays.services.iter().map(|entry| &entry.active);
    for active in active.chain(arrays.backends.iter().map(|entry| &entry.active)).filter(|active| active.load() == 1) {
        active.fetch_add(1);
    }
    counts(agent, "web", &[("web-1", 2)])?;
    counts(agent, "web", &[("web-1", 1)])?;
    assert!(agent.log().contains("a socket ended unseen"), "{}", agent.log());
    // The other is older by now, and was looked for as well.
    assert_eq!(maps.connections()?, [(cookie, connection)]);
    assert_eq!(held.server()?, "web-1");
    held.close()?;
    counts(agent, "web", &[])
}
