//! The agent's life in a world: started, killed, started again, stopped, unloaded.

use anyhow::Result;
use mesh_tests::client::Client;
use mesh_tests::echo::Listen;
use mesh_tests::wait::wait_for;
use mesh_tests::world::World;
use mesh_tests::{manifest, programs};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

fn frontend() -> SocketAddr {
    SocketAddr::from(([10, 96, 0, 10], 80))
}

/// A world with a Service of one backend, and a client.
fn world() -> Result<(World, Client)> {
    let world = World::new()?;
    let web = world.backend("web-1", &[Listen::tcp(8080)])?;
    world.apply(&manifest::service("web").cluster_ip("10.96.0.10").tcp(80, 8080).yaml())?;
    world.apply(&manifest::slice("web").tcp(8080).endpoint(&web).yaml())?;
    let client = world.client("client")?;
    Ok((world, client))
}

#[test]
fn the_data_path_outlives_the_agent_and_goes_with_unload() -> Result<()> {
    let (world, client) = world()?;
    let agent = world.agent();
    agent.start()?;
    assert!(agent.spawn().unwrap_err().to_string().contains("is running"));
    let held = client.connect(frontend())?;
    assert_eq!((held.peer()?, held.server()?.as_str()), (frontend(), "web-1"));
    assert_eq!(agent.service("default", "web")?["active"], 1);

    agent.kill()?;
    assert!(!agent.is_running());
    assert_eq!(client.tally(frontend(), 5)?.answers["web-1"], 5);
    agent.start()?;
    assert_eq!(agent.service("default", "web")?["active"], 1);
    let first = agent.id()?;
    agent.restart()?;
    assert_ne!(agent.id()?, first);

    assert!(agent.stop()?.success(), "{}", agent.log());
    assert_eq!(client.tally(frontend(), 5)?.answers["web-1"], 5);
    assert_eq!(held.server()?, "web-1");

    agent.unload()?;
    let nobody_home = client.connect(frontend()).unwrap_err();
    assert_eq!(nobody_home.kind(), ErrorKind::NetworkUnreachable);
    assert_eq!(held.server()?, "web-1", "what was connected is the backend's own connection");
    Ok(())
}

#[test]
fn a_second_agent_on_the_same_pins_is_refused_and_told_why() -> Result<()> {
    let (world, client) = world()?;
    world.agent().start()?;
    let run = |pins: &Path, socket: &Path| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(programs::find("mesh")?);
        command.args(["agent", "--node-name", "node-1"]).arg("--manifests").arg(world.manifests().directory());
        command.arg("--cgroup").arg(world.cgroup()).arg("--pins").arg(pins).arg("--socket").arg(socket);
        let output = command.stdin(Stdio::null()).output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let pins = world.agent().pins();
    let (code, said) = run(pins, &world.home().path("other.sock"))?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another agent") && said.contains(&pins.display().to_string()), "{said}");
    assert!(said.contains("--pins"), "it says what to do: {said}");
    // With pins of its own, but on the first one's socket.
    let own = pins.join("own");
    let (code, said) = run(&own, world.agent().socket())?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&world.agent().socket().display().to_string()) && said.contains("--socket"), "{said}");
    // The first did not notice.
    assert!(world.agent().is_running());
    world.agent().status()?;
    assert_eq!(client.tally(frontend(), 20)?.answers["web-1"], 20);
    Ok(())
}

#[test]
fn two_worlds_with_one_address_do_not_meet() -> Result<()> {
    let ((one, here), (two, there)) = (world()?, world()?);
    one.agent().start()?;
    two.agent().start()?;
    two.apply(&manifest::slice("web").tcp(8080).yaml())?;
    wait_for("the other world's Service to refuse", || match there.connect(frontend()) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    assert_eq!(here.tally(frontend(), 20)?.answers["web-1"], 20);
    assert_eq!(one.agent().service("default", "web")?["opened"], 20);
    Ok(())
}
