//! A slot comes back once, however its connection ends.

use super::{PORT, Scene, is_refused};
use anyhow::{Context, Result, ensure};
use mesh_tests::echo::Listen;
use mesh_tests::wait::wait_for;
use mesh_userspace::datapath::Pins;
use mesh_userspace::maps::inbound::InboundMaps;
use std::net::{IpAddr, TcpStream};
use std::process::Stdio;

/// A server that hangs up on each line: `fin` closes, `half` ends its sending and reads on, `rst` resets.
const SERVER: &str = r#"
import socket, struct, threading
def serve(c):
    for line in c.makefile():
        word = line.strip()
        if word == "fin": c.close(); return
        if word == "half": c.shutdown(socket.SHUT_WR)
        if word == "rst": c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close(); return
        if word == "hello": c.send(b"hello\n")
s = socket.create_server(("", 8080), backlog=100)
print("ready", flush=True)
while True:
    c, _ = s.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"#;

#[test]
fn fin_and_rst_of_either_side_half_closes_and_kills_give_back_one_slot_each() -> Result<()> {
    let scene = Scene::new(Some(2))?;
    let at = scene.at();
    // The client: close, reset, kill.
    let [first, second] = [scene.outsider.connect(at)?, scene.outsider.connect(at)?];
    scene.counts(2)?;
    first.reset()?;
    scene.counts(1)?;
    second.close()?;
    scene.counts(0)?;
    let other = scene.world.outsider("other")?.client()?;
    let held = other.connect_many(at, 2)?;
    scene.counts(2)?;
    other.kill();
    scene.counts(0)?;
    drop(held);
    // The backend is killed: its kernel ends what it had.
    let held = scene.outsider.connect_many(at, 2)?;
    scene.counts(2)?;
    scene.backend.cgroup().kill()?;
    ensure!(held.iter().all(|held| held.server().is_err()));
    drop(held);
    scene.counts(0)?;
    // Another takes its place.
    let mut server = scene.backend.command("python3")?;
    let mut server = server.args(["-c", SERVER]).stdout(Stdio::piped()).spawn().context("start the server")?;
    let mut ready = String::new();
    let out = server.stdout.take().context("its output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut ready)?;
    let outsider = scene.world.outsider("third")?;
    let ask = |word: &str| -> Result<TcpStream> {
        outsider.netns().run(|| {
            let mut stream = TcpStream::connect(at)?;
            std::io::Write::write_all(&mut stream, format!("{word}\n").as_bytes())?;
            Ok(stream)
        })
    };
    // RST of the backend.
    let reset = ask("rst")?;
    scene.counts(0)?;
    drop(reset);
    // FIN of the backend alone keeps the slot: the client may go on sending.
    for word in ["fin", "half"] {
        let stream = ask(word)?;
        let mut nothing = [0; 1];
        ensure!(std::io::Read::read(&mut &stream, &mut nothing)? == 0, "the backend has sent its FIN");
        if word == "half" {
            scene.counts(1)?;
            std::io::Write::write_all(&mut &stream, b"more\n")?;
            scene.counts(1)?;
        }
        drop(stream);
        scene.counts(0)?;
    }
    // FIN of the client alone keeps it, too, for what the backend has to say.
    let stream = ask("hello")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    drop(stream);
    scene.counts(0)?;
    server.kill()?;
    server.wait()?;
    scene.is_exact()
}

#[test]
fn a_pod_that_goes_takes_its_slots_along_and_one_that_comes_is_limited() -> Result<()> {
    let mut scene = Scene::new(Some(2))?;
    let held = scene.outsider.connect_many(scene.at(), 2)?;
    scene.counts(2)?;
    is_refused(&scene.outsider, scene.at());
    // Its processes are killed while nobody hears of it, then its interface goes. The endpoint is still listed.
    let gone = scene.backend.clone();
    gone.netns().ip("link set eth0 down\n")?;
    gone.delete()?;
    drop(scene.backend);
    scene.backend = scene.world.backend("web-2", &[Listen::tcp(PORT)])?;
    let (world, backend) = (&scene.world, &scene.backend);
    world.apply(&mesh_tests::manifest::slice("web").tcp(PORT).endpoint(backend).yaml())?;
    world.apply(&mesh_tests::manifest::slice_v6("web").tcp(PORT).endpoint(backend).yaml())?;
    scene.in_force(2)?;
    let anew = scene.outsider.connect_many(scene.at(), 2)?;
    is_refused(&scene.outsider, scene.at());
    drop((held, anew));
    scene.counts(0)
}

#[test]
fn a_client_that_vanishes_without_a_word_is_found_by_a_recount() -> Result<()> {
    let scene = Scene::new(Some(2))?;
    let vanishing = scene.world.outsider("vanishing")?;
    let held = vanishing.client()?.connect_many(scene.at(), 2)?;
    scene.counts(2)?;
    is_refused(&scene.outsider, scene.at());
    // No FIN of theirs arrives; the backend's own end is aborted within, and its RST does not get out.
    vanishing.netns().ip("link set eth0 down\n")?;
    scene.backend.netns().ip("link set eth0 down\n")?;
    scene.backend.cgroup().kill()?;
    scene.backend.netns().sysctl(&[("ipv4/tcp_orphan_retries", "1"), ("ipv4/tcp_fin_timeout", "1")])?;
    drop(held);
    scene.counts(0)?;
    ensure!(scene.world.agent().status()?["inbound"]["givenBack"] == 2);
    Ok(())
}

#[test]
fn a_count_that_is_off_is_set_right_whether_it_is_too_high_or_too_low() -> Result<()> {
    let scene = Scene::new(Some(3))?;
    let agent = scene.world.agent();
    let held = scene.outsider.connect(scene.at())?;
    scene.counts(1)?;
    let mut maps = InboundMaps::open(&Pins::new(agent.pins()))?;
    let backends = maps.backends()?;
    let ours = backends.iter().find(|(key, _)| IpAddr::from(key.address) == scene.backend.v4());
    let id = *ours.context("the backend")?.1;
    // Two slots that nobody holds: nobody else gets in until a recount has given them back.
    maps.entry(id)?.active.fetch_add(2);
    is_refused(&scene.outsider, scene.at());
    scene.counts(1)?;
    let all = [scene.outsider.connect(scene.at())?, scene.outsider.connect(scene.at())?];
    is_refused(&scene.outsider, scene.at());
    // One too few would let one too many in.
    maps.entry(id)?.active.fetch_sub(1);
    scene.counts(3)?;
    is_refused(&scene.outsider, scene.at());
    wait_for("both repairs to be told", || {
        let inbound = agent.status()?["inbound"].take();
        ensure!(inbound["repaired"] == 2 && inbound["drifted"] == 0, "{inbound}");
        Ok(())
    })?;
    ensure!(agent.log().matches("is_repaired=true").count() == 2, "{}", agent.log());
    ensure!(held.server()? == "web-1");
    drop((held, all));
    scene.counts(0)
}
