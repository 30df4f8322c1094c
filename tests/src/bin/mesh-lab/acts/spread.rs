//! Act one: every Service is reached, every backend has its share, and a client sees only the Service.

use crate::hold::Hold;
use crate::lab::Lab;
use crate::promises::same;
use anyhow::{Result, ensure};
use mesh_tests::client::Client;
use mesh_tests::control_plane::Frontend;
use mesh_tests::echo::Transport;
use std::io::ErrorKind;
use std::net::SocketAddr;

pub fn play(lab: &mut Lab) -> Result<()> {
    lab.screen.act("Traffic: two clients visit every Service");
    lab.traffic.visit(lab.visited());
    lab.watch_visits(40)?;
    let expected = pairs(lab);
    let reached = lab.watch("every backend to be reached", |lab| {
        let visits = lab.traffic.all();
        let missed: Vec<_> = expected.iter().filter(|(service, pod)| visits.answers(service, pod) == 0).collect();
        ensure!(missed.is_empty(), "nobody reached {missed:?}");
        Ok(())
    });
    lab.note(&format!("each of the {} backends was reached through its Service", expected.len()), reached);
    let visits = lab.traffic.all();
    lab.note(&format!("{} connections, and none failed", visits.answered()), visits.none_failed());

    let frontends = lab.visited();
    let held: Result<Vec<_>> = frontends.iter().map(|frontend| shows_the_service(&lab.clients[0], frontend)).collect();
    let shown = held.as_ref().map(|_| ()).map_err(|error| format!("{error:#}"));
    lab.note("getpeername and recvfrom show the Service's address, never the pod's", shown);
    if let Some(frontend) = frontends.iter().find(|frontend| frontend.transport == Transport::Tcp) {
        let page = lab.pods[0].curl(&format!("http://{}/", frontend.address));
        let said = page.as_deref().unwrap_or_default().split(' ').next().unwrap_or_default().to_owned();
        lab.note(&format!("curl http://{} in client-1 is answered by {said}", frontend.address), page.map(|_| ()));
    }
    refusals(lab);
    let held = held.unwrap_or_default();
    lab.screen.say(&format!("  {} connections are held open for the moment", held.len()));
    lab.show()
}

/// Each visited Service with each pod behind it.
fn pairs(lab: &Lab) -> Vec<(String, String)> {
    let visited = lab.visited();
    let is_visited = |service: &&mesh_tests::control_plane::ServedService| {
        visited.iter().any(|frontend| frontend.service == service.object.name)
    };
    let services = lab.plane.services().filter(is_visited);
    let pairs = services.flat_map(|service| {
        lab.plane.pods_of(service).map(|replica| (service.label(), replica.name().to_owned())).collect::<Vec<_>>()
    });
    pairs.collect()
}

fn shows_the_service(client: &Client, frontend: &Frontend) -> Result<Hold> {
    let hold = Hold::open(client, frontend)?;
    let peer = hold.peer()?;
    ensure!(peer == frontend.address, "getpeername of {frontend} is {peer}");
    if frontend.transport == Transport::Udp {
        let socket = if frontend.address.is_ipv6() { client.udp_v6()? } else { client.udp()? };
        let (_, source) = socket.ask_at(frontend.address, "who")?;
        ensure!(source == frontend.address, "recvfrom of {frontend} shows {source}");
    }
    Ok(hold)
}

/// What has nobody behind it is refused at once.
fn refusals(lab: &mut Lab) {
    let empty = lab.plane.services().filter(|service| {
        service.spec.selector.as_ref().is_some_and(|s| !s.is_empty()) && lab.plane.pods_of(service).next().is_none()
    });
    let empty: Vec<_> = empty.flat_map(mesh_tests::control_plane::ServedService::frontends).collect();
    for frontend in empty {
        let outcome = Hold::open(&lab.clients[0], &frontend).map(|_| ()).map_err(|error| error.kind());
        lab.note(
            &format!("{frontend} has no pod: refused at once"),
            same(&outcome, &Err(ErrorKind::ConnectionRefused)),
        );
    }
    let frontends = lab.frontends();
    let free = |port: &u16| frontends.iter().all(|frontend| frontend.address.port() != *port);
    if let Some(port) = (1..u16::MAX).find(free) {
        let address = SocketAddr::from((frontends[0].address.ip(), port));
        let outcome = lab.clients[0].connect(address).map(|_| ()).map_err(|error| error.kind());
        let promise = format!("{address} is a port that the Service does not list: refused at once");
        lab.note(&promise, same(&outcome, &Err(ErrorKind::ConnectionRefused)));
    }
}
