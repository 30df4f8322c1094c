//! What a client is shown: the frontend that it dialled, and never the backend; and nothing else is touched.

use super::script::Script;
use super::{ADDRESSES, Shop, at, tcp, udp};
use anyhow::Result;
use mesh_tests::echo::Listen;
use mesh_tests::expect::{Open, open, tcp_reaches};
use mesh_tests::manifest::{service, slice};
use std::collections::BTreeSet;
use std::io::ErrorKind;

#[test]
fn getpeername_shows_the_frontend_of_a_tcp_connection() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    for address in ADDRESSES {
        let frontend = at(&format!("{address}:80"));
        for held in shop.client.connect_many(frontend, 6)? {
            assert_eq!(held.peer()?, frontend);
            // The server sees the client itself.
            assert_eq!(held.ask("who am I")?.client.port(), held.local()?.port());
            assert_eq!(held.peer()?, frontend);
        }
    }
    Ok(())
}

#[test]
fn connected_udp_shows_the_frontend_in_getpeername_and_recvfrom() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    for address in ADDRESSES {
        let frontend = at(&format!("{address}:53"));
        for _ in 0..6 {
            let socket = shop.client.connect_udp(frontend)?;
            assert_eq!(socket.peer()?, frontend);
            let server = socket.ask("who")?.server;
            socket.send("again")?;
            let (answer, from) = socket.receive()?;
            assert_eq!((answer.server, from), (server, frontend), "one backend, shown as the frontend");
        }
    }
    Ok(())
}

#[test]
fn unconnected_udp_shows_the_frontend_in_recvfrom() -> Result<()> {
    let shop = Shop::with_pods(3)?;
    let mut reached = BTreeSet::new();
    for address in ADDRESSES {
        let frontend = at(&format!("{address}:53"));
        for _ in 0..20 {
            let socket = if frontend.is_ipv6() { shop.client.udp_v6()? } else { shop.client.udp()? };
            let (first, from) = socket.ask_at(frontend, "who")?;
            assert_eq!(from, frontend);
            // A conversation stays with its backend.
            for _ in 0..3 {
                let (answer, from) = socket.ask_at(frontend, "who")?;
                assert_eq!((&answer.server, from), (&first.server, frontend));
            }
            reached.insert(first.server);
        }
    }
    assert_eq!(reached.len(), 3, "sockets spread over the backends: {reached:?}");
    // A datagram is no connection.
    assert_eq!(open(shop.world.agent(), "web")?, Open::default());
    Ok(())
}

#[test]
fn one_unconnected_socket_speaks_to_several_frontends_and_to_pods() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let other = shop.world.backend("other-1", &[Listen::udp(5353)])?;
    shop.world.apply(&service("other").cluster_ip("10.96.0.11").udp(53, 5353).yaml())?;
    shop.world.apply(&slice("other").udp(5353).endpoint(&other).yaml())?;
    mesh_tests::expect::udp_reaches(&shop.client, at("10.96.0.11:53"), &["other-1"])?;
    let socket = shop.client.udp()?;
    for _ in 0..5 {
        for (to, server) in [(udp(), "web-1"), (at("10.96.0.11:53"), "other-1")] {
            let (answer, from) = socket.ask_at(to, "who")?;
            assert_eq!((answer.server.as_str(), from), (server, to));
        }
    }
    // A pod that is not behind any frontend it spoke to shows its own address.
    let plain = shop.world.backend("plain", &[Listen::udp(99)])?;
    let (answer, from) = socket.ask_at(plain.at(99), "who")?;
    assert_eq!((answer.server.as_str(), from), ("plain", plain.at(99)));
    Ok(())
}

#[test]
fn recvmsg_shows_the_frontend() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let pod = shop.world.pod("script")?;
    let said = pod.python(
        "
import socket
def show(family, to, connected):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    if connected:
        s.connect(to)
        s.sendmsg([b'who'])
    else:
        s.sendmsg([b'who'], [], 0, to)
    data, _, _, source = s.recvmsg(4096)
    print(source[0], source[1])
for connected in (True, False):
    show(socket.AF_INET, ('10.96.0.10', 53), connected)
    show(socket.AF_INET6, ('fd00:10:96::10', 53), connected)
    show(socket.AF_INET6, ('::ffff:10.96.0.10', 53), connected)
",
    )?;
    let three = "10.96.0.10 53\nfd00:10:96::10 53\n::ffff:10.96.0.10 53\n";
    assert_eq!(said, three.repeat(2));
    Ok(())
}

#[test]
fn what_is_no_service_is_untouched() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let (client, pod) = (&shop.client, &shop.pods[0]);
    let plain = shop.world.backend("plain", &[Listen::tcp(80), Listen::udp(53)])?;
    tcp_reaches(client, tcp(), &["web-1"])?;
    let before = shop.world.agent().service("default", "web")?["opened"].clone();
    for to in [plain.at(80), plain.at_v6(80), pod.at(8080), pod.at_v6(8080)] {
        let held = client.connect(to)?;
        assert_eq!(held.peer()?, to);
        held.server()?;
    }
    for to in [plain.at(53), plain.at_v6(53), pod.at(53)] {
        let socket = client.connect_udp(to)?;
        socket.send("who")?;
        assert_eq!((socket.receive()?.1, socket.peer()?), (to, to));
        let socket = if to.is_ipv6() { client.udp_v6()? } else { client.udp()? };
        assert_eq!(socket.ask_at(to, "who")?.1, to);
    }
    // Errors are the kernel's own.
    assert_eq!(client.connect(plain.at(81)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(client.connect(at("10.96.0.9:80")).unwrap_err().kind(), ErrorKind::NetworkUnreachable);
    let after = shop.world.agent().service("default", "web")?;
    assert_eq!(after["opened"], before);
    assert_eq!(open(shop.world.agent(), "web")?, Open::default());
    // A program outside of the cgroup that the agent was given is not served.
    let outside = shop.world.home().path("netns").join("client");
    let said = std::process::Command::new("nsenter")
        .arg(format!("--net={}", outside.display()))
        .args(["python3", "-c", "import socket\nprint(socket.socket().connect_ex(('10.96.0.10', 80)))"])
        .output()?;
    let unreachable = nix::libc::ENETUNREACH.to_string();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), unreachable, "{said:?}");
    Ok(())
}

#[test]
fn other_kinds_of_sockets_work_as_ever() -> Result<()> {
    let shop = Shop::with_pods(1)?;
    let mut script = Script::start(
        &shop.world.pod("script")?,
        "
a, b = socket.socketpair()
a.send(b'x'); assert b.recv(1) == b'x'
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname())
peer, address = server.accept()
assert address == client.getsockname() and client.getpeername() == server.getsockname()
assert peer.getpeername() == client.getsockname()
one, two = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
two.bind(('127.0.0.1', 0)); one.bind(('127.0.0.1', 0))
one.sendto(b'y', two.getsockname()); assert two.recvfrom(9) == (b'y', one.getsockname())
s = socket.socket(); s.connect(('10.96.0.10', 80)); s.send(b'who\\n'); assert s.recv(99).startswith(b'web-1 ')
say('fine')
",
    )?;
    script.expect("fine")
}
