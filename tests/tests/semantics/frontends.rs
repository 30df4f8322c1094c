//! Which addresses are served: 10, 11, 16, 18, 25 and 26.

use anyhow::Result;
use mesh_tests::client::Client;
use mesh_tests::echo::{Listen, Transport};
use mesh_tests::expect::{finding, refusals, refused, tcp_reaches, tcp_refused, udp_reaches};
use mesh_tests::manifest::{service, slice, slice_v6};
use mesh_tests::object::ObjectName;
use mesh_tests::wait::wait_for;
use mesh_tests::world::World;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::SocketAddr;

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

/// Nobody has this address, and the node says so: what an address that is not served looks like.
fn is_left_alone(client: &Client, to: SocketAddr) -> Result<()> {
    wait_for(&format!("{to} to be left alone"), || match client.connect(to).map(drop) {
        Err(error) if matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable) => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn s10_a_service_without_endpoints_is_refused_at_once() -> Result<()> {
    let world = World::new()?;
    let pod = world.backend("dual-1", &[Listen::tcp(8080), Listen::udp(53)])?;
    let dual = service("dual").cluster_ip("10.96.0.10").cluster_ip("fd00:10:96::10").tcp(80, 8080).udp(53, 53);
    world.apply(&dual.yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    let before = refusals(world.agent(), "no-backend")?;
    for address in ["10.96.0.10", "[fd00:10:96::10]", "[::ffff:10.96.0.10]"] {
        refused(&client, Transport::Tcp, at(&format!("{address}:80")))?;
        refused(&client, Transport::Udp, at(&format!("{address}:53")))?;
    }
    // A datagram without connect() has its error, too.
    let error = client.udp()?.send_to(at("10.96.0.10:53"), "hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(refusals(world.agent(), "no-backend")? >= before + 121);

    // With endpoints it is served, without them refused again, within one sync.
    world.apply(&slice("dual").tcp(8080).udp(53).endpoint(&pod).yaml())?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["dual-1"])?;
    udp_reaches(&client, at("10.96.0.10:53"), &["dual-1"])?;
    refused(&client, Transport::Tcp, at("[fd00:10:96::10]:80"))?;
    world.manifests().delete(&ObjectName::new("EndpointSlice", "dual-v4"))?;
    refused(&client, Transport::Tcp, at("10.96.0.10:80"))?;
    refused(&client, Transport::Udp, at("10.96.0.10:53"))
}

#[test]
fn s11_a_port_that_the_service_does_not_list_is_refused_on_its_cluster_ip() -> Result<()> {
    let world = World::new()?;
    let pod = world.backend("web-1", &[Listen::tcp(8080), Listen::tcp(8081)])?;
    let web = service("web").cluster_ip("10.96.0.10").cluster_ip("fd00:10:96::10");
    world.apply(&web.clone().tcp(80, 8080).yaml())?;
    world.apply(&slice("web").tcp(8080).tcp(8081).endpoint(&pod).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["web-1"])?;
    let before = refusals(world.agent(), "no-such-port")?;
    for address in ["10.96.0.10", "[fd00:10:96::10]", "[::ffff:10.96.0.10]"] {
        for port in [81, 8080, 65535] {
            refused(&client, Transport::Tcp, at(&format!("{address}:{port}")))?;
            refused(&client, Transport::Udp, at(&format!("{address}:{port}")))?;
        }
    }
    assert!(refusals(world.agent(), "no-such-port")? >= before + 18 * 21);
    let error = client.udp()?.send_to(at("10.96.0.10:81"), "hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

    // A port that is added is served, one that is taken away refused.
    world.apply(&web.clone().tcp(80, 8080).tcp(81, 8081).yaml())?;
    tcp_reaches(&client, at("10.96.0.10:81"), &["web-1"])?;
    world.apply(&web.tcp(81, 8081).yaml())?;
    tcp_refused(&client, at("10.96.0.10:80"))?;
    tcp_reaches(&client, at("10.96.0.10:81"), &["web-1"])?;
    // Without the Service the address is nobody's.
    world.manifests().delete(&ObjectName::new("Service", "web"))?;
    is_left_alone(&client, at("10.96.0.10:81"))?;
    is_left_alone(&client, at("10.96.0.10:80"))
}

#[test]
fn s16_external_ips_are_off_and_status_says_so() -> Result<()> {
    let world = World::new()?;
    let pod = world.backend("web-1", &[Listen::tcp(8080)])?;
    let web = service("web").cluster_ip("10.96.0.10").tcp(80, 8080);
    world.apply(&web.spec("externalIPs", json!(["203.0.113.7"])).yaml())?;
    world.apply(&slice("web").tcp(8080).endpoint(&pod).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, at("10.96.0.10:80"), &["web-1"])?;
    is_left_alone(&client, at("203.0.113.7:80"))?;
    let said = finding(world.agent(), "unsupported", "Service/web", "spec.externalIPs")?;
    assert!(said["message"].to_string().contains("CVE-2020-8554"), "{said}");
    Ok(())
}

#[test]
fn s18_headless_external_name_and_other_proxies_services_are_left_alone() -> Result<()> {
    let world = World::new()?;
    let pod = world.backend("web-1", &[Listen::tcp(8080)])?;
    world.apply(&service("headless").cluster_ip("None").tcp(80, 8080).spec("ipFamilies", json!(["IPv4"])).yaml())?;
    world.apply(&service("elsewhere").spec("type", "ExternalName").spec("externalName", "example.com").yaml())?;
    let mut theirs: Value = serde_json::from_str(&service("theirs").cluster_ip("10.96.0.12").tcp(80, 8080).yaml())?;
    theirs["metadata"]["labels"]["service.kubernetes.io/service-proxy-name"] = "another".into();
    world.apply(&theirs.to_string())?;
    world.apply(&service("ours").cluster_ip("10.96.0.13").tcp(80, 8080).yaml())?;
    for name in ["headless", "theirs", "ours"] {
        world.apply(&slice(name).tcp(8080).endpoint(&pod).yaml())?;
    }
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, at("10.96.0.13:80"), &["web-1"])?;
    is_left_alone(&client, at("10.96.0.12:80"))?;
    // A headless Service's clients dial its endpoints.
    tcp_reaches(&client, pod.at(8080), &["web-1"])?;
    let status = world.agent().status()?;
    assert_eq!(status["services"]["ignored"], 3, "{}", status["services"]);
    assert_eq!(status["findings"], json!([]));

    // The label goes: it is ours now; and back.
    theirs["metadata"]["labels"] = json!({});
    world.apply(&theirs.to_string())?;
    tcp_reaches(&client, at("10.96.0.12:80"), &["web-1"])?;
    theirs["metadata"]["labels"]["service.kubernetes.io/service-proxy-name"] = "another".into();
    world.apply(&theirs.to_string())?;
    is_left_alone(&client, at("10.96.0.12:80"))
}

#[test]
fn s25_each_family_has_its_own_endpoints_and_v4_mapped_is_ipv4() -> Result<()> {
    let world = World::new()?;
    let ports = [Listen::tcp(8080), Listen::udp(53)];
    let (four, six) = (world.backend("four", &ports)?, world.backend("six", &ports)?);
    world.apply(
        &service("dual").cluster_ip("10.96.0.10").cluster_ip("fd00:10:96::10").tcp(80, 8080).udp(53, 53).yaml(),
    )?;
    world.apply(&slice("dual").tcp(8080).udp(53).endpoint(&four).yaml())?;
    world.apply(&slice_v6("dual").tcp(8080).udp(53).endpoint(&six).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    for (address, server) in [("10.96.0.10", "four"), ("[fd00:10:96::10]", "six"), ("[::ffff:10.96.0.10]", "four")] {
        tcp_reaches(&client, at(&format!("{address}:80")), &[server])?;
        udp_reaches(&client, at(&format!("{address}:53")), &[server])?;
    }
    Ok(())
}

#[test]
fn s26_tcp_and_udp_on_one_port_number_are_separate() -> Result<()> {
    let world = World::new()?;
    let tcp = world.backend("tcp-1", &[Listen::tcp(5353)])?;
    let udp = world.backend("udp-1", &[Listen::udp(5354)])?;
    world.apply(&service("dns").cluster_ip("10.96.0.10").tcp(53, 5353).udp(53, 5354).yaml())?;
    world.apply(&slice("dns").named("dns-tcp").tcp(5353).endpoint(&tcp).yaml())?;
    world.apply(&slice("dns").named("dns-udp").udp(5354).endpoint(&udp).yaml())?;
    world.agent().start()?;
    let client = world.client("client")?;
    tcp_reaches(&client, at("10.96.0.10:53"), &["tcp-1"])?;
    udp_reaches(&client, at("10.96.0.10:53"), &["udp-1"])?;
    // One loses its endpoints; the other does not notice.
    world.manifests().delete(&ObjectName::new("EndpointSlice", "dns-udp"))?;
    refused(&client, Transport::Udp, at("10.96.0.10:53"))?;
    tcp_reaches(&client, at("10.96.0.10:53"), &["tcp-1"])?;
    // One is not listed any more.
    world.apply(&service("dns").cluster_ip("10.96.0.10").udp(53, 5354).yaml())?;
    tcp_refused(&client, at("10.96.0.10:53"))
}
