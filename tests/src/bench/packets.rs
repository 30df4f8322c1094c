//! What a packet costs at the interface of a pod with a limit, by BPF_PROG_TEST_RUN.

use crate::Effort;
use crate::empty;
use crate::priority;
use crate::report::{Limit, Section, Target};
use crate::spread::Spread;
use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, MapData};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::packet::Flags;
use mesh_common::packet::examples::{PORTS, tcp, udp, v4, v6};
use mesh_common::tables::{FrontendKey, Inbound, InboundKey, NO_NETNS};
use mesh_userspace::bpf;
use mesh_userspace::datapath::PROGRAMS;
use mesh_userspace::maps::wire;
use network_types::ip::IpProto;
use std::mem::offset_of;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// Bytes of a record's key.
const KEY: usize = size_of::<InboundKey>();

/// Bytes of data: a full segment of an Ethernet.
const DATA: usize = 1448;

/// The most that a packet of a counted connection may take beyond a program that does nothing, nanoseconds.
const MOST: f64 = 100.0;

/// A packet, which way it goes, and whether a target holds for it.
struct Case {
    name: &'static str,
    program: OwnedFd,
    packet: Vec<u8>,
    limit: bool,
}

/// Packets of counted connections, and of what is not counted, beside a program that does nothing.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "A packet at the interface of a pod with a limit",
        "Mean ns of a run by BPF_PROG_TEST_RUN, 1,448 bytes of data, a round of each in turn; the difference is to a program that \
         does nothing, of the same round. One connection, whose record is in the cache. Pods without a limit have no programs.",
        &["packet", "ns", "more than nothing, ns"],
    );
    if let Err(error) = priority::raise() {
        eprintln!("measuring at ordinary priority: {error:#}");
    }
    let (cases, programs) = cases()?;
    let (rounds, times) = effort.pick((3, 10_000), (21, 200_000));
    let mut measured: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    for round in 0..=rounds {
        for (case, means) in cases.iter().zip(&mut measured) {
            let (value, mean) = bpf::run_on_packet(case.program.as_fd(), &case.packet, times)?;
            ensure!(value.cast_signed() == -1, "{}: {}", case.name, value.cast_signed());
            // The first round warms up.
            if round > 0 {
                means.push(f64::from(mean.subsec_nanos()));
            }
        }
    }
    for (case, means) in cases.iter().zip(&measured) {
        let more = means.iter().zip(&measured[0]).map(|(mean, nothing)| mean - nothing);
        let more = Spread::of(more).context("no round")?;
        let mean = Spread::of(means.iter().copied()).context("no round")?;
        section.row(vec![case.name.to_owned(), mean.to_string(), more.to_string()]);
        if case.limit {
            let what = format!("a packet, {}, more than nothing", case.name);
            section.target(Target::new(what, Limit::AtMost(MOST), more.median, " ns"));
        }
    }
    section.row(vec![
        "a recount's look at one record, its system call included".to_owned(),
        look(&programs, effort)?,
        "-".to_owned(),
    ]);
    Ok(section)
}

/// What the agent's recount takes for each record.
fn look(programs: &Ebpf, effort: Effort) -> Result<String> {
    let connections: HashMap<&MapData, [u8; KEY], u64> =
        programs.map("INBOUND_CONNECTIONS").context("no table")?.try_into()?;
    let key = connections.keys().next().context("no record")??;
    let question = [&[0; 14][..], &key].concat();
    let program: &SchedClassifier = programs.program("tc_recount").context("no such program")?.try_into()?;
    let (rounds, times) = effort.pick((3, 1_000), (21, 20_000));
    let round = |_| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..times {
            bpf::run_on_packet(program.fd()?.as_fd(), &question, 1)?;
        }
        Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(times))
    };
    let means: Vec<f64> = (0..rounds).map(round).collect::<Result<_>>()?;
    Ok(Spread::of(means).context("no round")?.to_string())
}

/// A segment in a frame of one family.
type Wrapping<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// What is measured, the program that does nothing first, and the programs with their maps.
fn cases() -> Result<(Vec<Case>, Ebpf)> {
    const TCP: u8 = IpProto::Tcp as u8;
    let mut ebpf = EbpfLoader::new().load(PROGRAMS).context("load the programs")?;
    program(&mut ebpf, "tc_recount")?;
    let [to_pod, from_pod] = ["tc_to_pod", "tc_from_pod"].map(|name| program(&mut ebpf, name));
    let (to_pod, from_pod) = (to_pod?, from_pod?);
    for (id, address) in [(1, IpAddr::from([10, 0, 0, 2])), (2, IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 2]))] {
        limit(&mut ebpf, id, address)?;
    }
    let (in_v4, in_v6) = (|segment: &[u8]| v4(TCP, 0, segment), |segment: &[u8]| v6(TCP, segment));
    let frames: [Wrapping<'_>; 2] = [&in_v4, &in_v6];
    for frame in frames {
        let mut answer = turned(frame(&tcp(5, Flags::SYN | Flags::ACK, &[])));
        let ports = if answer[12] == 8 { 34 } else { 54 };
        // What the client's segments acknowledge.
        answer[ports + 4..ports + 8].copy_from_slice(&1999_u32.to_be_bytes());
        bpf::run_on_packet(from_pod.as_fd(), &answer, 1)?;
        bpf::run_on_packet(to_pod.as_fd(), &frame(&tcp(5, Flags::ACK, &[])), 1)?;
    }
    let backends: Array<&MapData, [u8; size_of::<Inbound>()]> =
        ebpf.map("INBOUND").context("no backends")?.try_into()?;
    for id in [1, 2] {
        let active = backends.get(&id, 0)?[..8].try_into().map(u64::from_ne_bytes)?;
        ensure!(active == 1, "{active} connections are counted");
    }
    let data = tcp(8, Flags::ACK | Flags::PSH, &[0x55; DATA]);
    let mut other = data.clone();
    other[2..4].copy_from_slice(&9_u16.to_be_bytes());
    let datagram = udp((DATA + 8) as u16, &[0x55; DATA]);
    let copy = |program: &OwnedFd| program.try_clone().context("duplicate a descriptor");
    let case = |name, program: &OwnedFd, packet, limit| Ok(Case { name, program: copy(program)?, packet, limit });
    let cases: Result<Vec<Case>> = [
        case("nothing", &empty::for_packets()?, in_v4(&data), false),
        case("TCP over IPv4 to the pod", &to_pod, in_v4(&data), true),
        case("TCP over IPv6 to the pod", &to_pod, in_v6(&data), true),
        case("TCP over IPv4 from the pod", &from_pod, turned(in_v4(&data)), true),
        case("TCP over IPv6 from the pod", &from_pod, turned(in_v6(&data)), true),
        case("TCP to a port of the pod without a limit", &to_pod, in_v4(&other), false),
        case("UDP to the pod", &to_pod, v4(IpProto::Udp as u8, 0, &datagram), false),
    ]
    .into_iter()
    .collect();
    Ok((cases?, ebpf))
}

fn program(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd> {
    let program: &mut SchedClassifier = ebpf.program_mut(name).context("no such program")?.try_into()?;
    program.load().with_context(|| format!("load {name}"))?;
    program.fd()?.as_fd().try_clone_to_owned().context("duplicate a descriptor")
}

/// Limits a backend whose pod has no sockets that are found.
fn limit(ebpf: &mut Ebpf, id: u32, address: IpAddr) -> Result<()> {
    let mut entry = [0; size_of::<Inbound>()];
    let mut word = |at: usize, value: u64| entry[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    word(offset_of!(Inbound, limit), 1_000);
    word(offset_of!(Inbound, observed_limit), u64::MAX);
    word(offset_of!(Inbound, netns), NO_NETNS);
    let map = ebpf.map_mut("INBOUND").context("no backends")?;
    Array::<&mut MapData, [u8; size_of::<Inbound>()]>::try_from(map)?.set(id, entry, 0)?;
    let map = ebpf.map_mut("INBOUND_BACKENDS").context("no backends")?;
    let key = FrontendKey::new(Address::from(address), Port::from_host(PORTS[1]), Protocol::Tcp);
    HashMap::<&mut MapData, [u8; wire::FRONTEND], u32>::try_from(map)?.insert(wire::frontend(&key), id, 0)?;
    Ok(())
}

/// The same from the other end.
fn turned(mut frame: Vec<u8>) -> Vec<u8> {
    let (at, size, ports) = if frame[12] == 8 { (26, 4, 34) } else { (22, 16, 54) };
    let (client, server) = frame[at..at + 2 * size].split_at_mut(size);
    client.swap_with_slice(server);
    let (from, to) = frame[ports..ports + 4].split_at_mut(2);
    from.swap_with_slice(to);
    frame
}
