//! The world itself: pods reach each other, processes are where they should be, and nothing stays behind.

use anyhow::{Context, Result};
use mesh_tests::echo::Listen;
use mesh_tests::storm::{Plan, Storm};
use mesh_tests::wait::wait_until_equal;
use mesh_tests::world::{Cgroup, World, sweep};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::{env, fs, thread};

const PORTS: [Listen; 2] = [Listen::tcp(8080), Listen::udp(53)];

#[test]
fn pods_reach_each_other_in_both_families() -> Result<()> {
    let world = World::new()?;
    let (web, pod) = (world.backend("web-1", &PORTS)?, world.pod("client")?);
    let client = pod.client()?;
    for (to, from) in [(web.at(8080), pod.v4()), (web.at_v6(8080), pod.v6())] {
        let connection = client.connect(to)?;
        let answer = connection.ask("hello there")?;
        assert_eq!((answer.server.as_str(), answer.client.ip(), answer.text.as_str()), ("web-1", from, "hello there"));
        assert_eq!(answer.client, connection.local()?);
        assert_eq!(connection.peer()?, to);
    }
    for (to, from) in [(web.at(53), pod.v4()), (web.at_v6(53), pod.v6())] {
        assert_eq!(client.connect_udp(to)?.ask("hello")?.client.ip(), from);
        let socket = if to.is_ipv6() { client.udp_v6()? } else { client.udp()? };
        let (answer, source) = socket.ask_at(to, "hello")?;
        assert_eq!((answer.server.as_str(), answer.client.ip(), source), ("web-1", from, to));
    }
    Ok(())
}

#[test]
fn v4_mapped_addresses_are_ipv4_to_the_server() -> Result<()> {
    let world = World::new()?;
    let (web, pod) = (world.backend("web-1", &PORTS)?, world.pod("client")?);
    let IpAddr::V4(v4) = web.v4() else { unreachable!("v4() is IPv4") };
    let to = SocketAddr::from((v4.to_ipv6_mapped(), 8080));
    let connection = pod.client()?.connect(to)?;
    assert_eq!(connection.ask("x")?.client.ip(), pod.v4());
    assert_eq!(connection.peer()?, to);
    Ok(())
}

#[test]
fn errors_are_those_of_the_kernel() -> Result<()> {
    let world = World::new()?;
    let (pod, client) = (world.pod("empty")?, world.client("client")?);
    assert_eq!(client.connect(pod.at(80)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // Nobody has this address, and the node says so.
    let nowhere: SocketAddr = "10.96.0.10:80".parse()?;
    assert_eq!(client.connect(nowhere).unwrap_err().kind(), ErrorKind::NetworkUnreachable);
    let datagrams = client.connect_udp(pod.at(53))?;
    assert_eq!(datagrams.ask("x").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    Ok(())
}

#[test]
fn processes_are_in_the_cgroup_and_the_network_of_their_pod() -> Result<()> {
    let world = World::new()?;
    let pod = world.pod("pod")?;
    let said = pod.run("sh", &["-c", "cat /proc/self/cgroup; cat /proc/net/fib_trie"])?;
    assert!(said.contains(&format!("0::/{}/pods/pod\n", world.name())), "{said}");
    assert!(said.contains(&pod.v4().to_string()), "{said}");
    let host = world.host_pod("host")?;
    let said = host.run("sh", &["-c", "cat /proc/self/cgroup; cat /proc/net/dev"])?;
    assert!(said.contains(&format!("0::/{}/pods/host\n", world.name())) && said.contains("pods:"), "{said}");
    let error = pod.run("sh", &["-c", "echo broken >&2; exit 3"]).unwrap_err().to_string();
    assert!(error.contains("broken") && error.contains("exit status: 3"), "{error}");
    Ok(())
}

#[test]
fn held_connections_are_counted_and_end_when_dropped() -> Result<()> {
    let world = World::new()?;
    let (web, client) = (world.backend("web-1", &PORTS)?, world.client("client")?);
    let watch = client.connect(web.at(8080))?;
    let held = client.connect_many(web.at(8080), 5)?;
    wait_until_equal("the server to have them all", &6, || watch.server_open().unwrap_or_default())?;
    drop(held);
    wait_until_equal("the server to lose them", &1, || watch.server_open().unwrap_or_default())?;

    let other = world.client("other")?;
    let _held = other.connect_many(web.at(8080), 3)?;
    wait_until_equal("the server to have more", &4, || watch.server_open().unwrap_or_default())?;
    other.kill();
    wait_until_equal("the kernel to close what was killed", &1, || watch.server_open().unwrap_or_default())?;
    assert!(other.connect(web.at(8080)).unwrap_err().to_string().contains("the client process is gone"));
    Ok(())
}

#[test]
fn curl_python_and_c_reach_a_server() -> Result<()> {
    let world = World::new()?;
    let (web, pod) = (world.backend("web-1", &PORTS)?, world.pod("client")?);
    let page = pod.curl(&format!("http://{}/path", web.at(8080)))?;
    assert!(page.starts_with(&format!("web-1 {}:", pod.v4())) && page.ends_with(" /path\n"), "{page}");
    let page = pod.curl(&format!("http://{}/", web.at_v6(8080)))?;
    assert!(page.starts_with(&format!("web-1 [{}]:", pod.v6())), "{page}");
    let said =
        pod.python(&format!("import socket; print(socket.create_connection(('{}', 8080)).getpeername())", web.v4()))?;
    assert_eq!(said, format!("('{}', 8080)\n", web.v4()));
    let program = pod.compile("hello", "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n")?;
    assert_eq!(pod.run(program, &[])?, "hello\n");
    Ok(())
}

#[test]
fn a_tally_counts_answers_and_errors() -> Result<()> {
    let world = World::new()?;
    let (web, client) = (world.backend("web-1", &PORTS)?, world.client("client")?);
    let mut tally = client.tally(web.at(8080), 30)?;
    tally.add(&client.tally_udp(web.at(53), 10)?);
    tally.add(&client.tally(web.at(81), 7)?);
    assert_eq!((tally.answered(), tally.failed()), (40, 7));
    assert_eq!(tally.answers["web-1"], 40);
    assert_eq!(tally.errors[&nix::libc::ECONNREFUSED], 7);
    Ok(())
}

#[test]
fn a_storm_counts_what_it_opens_even_when_processes_are_killed() -> Result<()> {
    let world = World::new()?;
    let (web, pod) = (world.backend("web-1", &PORTS)?, world.pod("client")?);
    let storm = Storm::start(&pod, 4, &Plan::to(web.at(8080)).hold(5))?;
    storm.wait_connected(500)?;
    storm.kill(1)?;
    storm.wait_connected(500)?;
    storm.kill(3)?;
    storm.stop();
    let count = storm.finish()?;
    assert!(count.connected > 1000 && count.failed + count.refused == 0, "{count:?}");
    assert!((5..=20).contains(&count.most_open), "{count:?}");
    assert_eq!(count.open, 0);

    let refused = Storm::start(&pod, 2, &Plan::to(pod.at(81)).connects(50))?.finish()?;
    assert_eq!((refused.connected, refused.refused, refused.failed), (0, 100, 0));
    Ok(())
}

#[test]
fn a_deleted_pod_is_gone() -> Result<()> {
    let world = World::new()?;
    let (web, client) = (world.backend("web-1", &PORTS)?, world.client("client")?);
    let (held, cgroup) = (client.connect(web.at(8080))?, web.cgroup().path().to_owned());
    web.delete()?;
    assert!(!cgroup.exists());
    assert_ne!(held.ask("x").unwrap_err().kind(), ErrorKind::WouldBlock, "the server's end was closed");
    // Its name is free again.
    world.backend("web-1", &PORTS)?;
    Ok(())
}

#[test]
fn manifests_are_one_file_an_object() -> Result<()> {
    let world = World::new()?;
    world.apply("kind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.10}\n---\nkind: Node\nmetadata: {name: node-1}\n")?;
    world.apply("kind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.11}\n")?;
    let mut files: Vec<_> = fs::read_dir(world.manifests().directory())?.flatten().map(|e| e.file_name()).collect();
    files.sort();
    assert_eq!(files, ["node.default.node-1.yaml", "service.default.web.yaml"]);
    let text = fs::read_to_string(world.manifests().directory().join("service.default.web.yaml"))?;
    assert!(text.contains("10.96.0.11"), "{text}");
    Ok(())
}

/// Every path that bears the world's name.
fn traces(name: &str) -> Vec<String> {
    let places = [Cgroup::mount_point().unwrap(), "/run/mesh-worlds".into(), "/sys/fs/bpf".into()];
    let mut found: Vec<_> =
        places.iter().map(|p| p.join(name)).filter(|p| p.exists()).map(|p| p.display().to_string()).collect();
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(name)).map(ToOwned::to_owned));
    found
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let name = std::sync::Mutex::new(String::new());
    let panicked = std::panic::catch_unwind(|| {
        let world = World::new().unwrap();
        world.name().clone_into(&mut name.lock().unwrap());
        let _web = world.backend("web-1", &PORTS).unwrap();
        assert!(!traces(world.name()).is_empty());
        panic!("on purpose");
    });
    assert!(panicked.is_err());
    let name = name.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(name.starts_with("mesh-test-"));
    assert_eq!(traces(&name), Vec::<String>::new());
}

/// Set for the run of the test below that is to be killed.
const TO_BE_KILLED: &str = "MESH_TEST_TO_BE_KILLED";

#[test]
fn a_killed_run_is_swept() -> Result<()> {
    if env::var_os(TO_BE_KILLED).is_some() {
        let world = World::new()?;
        let _web = world.backend("web-1", &PORTS)?;
        println!("world {}", world.name());
        loop {
            thread::park();
        }
    }
    let mut command = Command::new(env::current_exe()?);
    command.args(["--exact", "a_killed_run_is_swept", "--nocapture"]).env(TO_BE_KILLED, "1").stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let lines = BufReader::new(child.stdout.take().context("stdout is a pipe")?).lines();
    let name = lines.map_while(Result::ok).find_map(|line| line.split("world ").nth(1).map(ToOwned::to_owned));
    let name = name.context("the other run made no world")?;
    sweep()?;
    assert!(!traces(&name).is_empty(), "a living world is not swept");
    child.kill()?;
    child.wait()?;
    sweep()?;
    assert_eq!(traces(&name), Vec::<String>::new());
    Ok(())
}
