//! Packet in, verdict and packet out, of the loaded programs (`BPF_PROG_TEST_RUN`).

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, MapData};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use mesh_common::address::{Address, Port, Protocol};
use mesh_common::packet::examples::{Example, PORTS, checksum, examples, tcp, v4, v6};
use mesh_common::packet::{Flags, PacketReason};
use mesh_common::tables::{FrontendKey, UNLIMITED};
use mesh_userspace::datapath::PROGRAMS;
use network_types::ip::IpProto;
use std::net::IpAddr;

const PASS: i32 = -1;
const DROP: i32 = 2;
const REDIRECT: i32 = 7;

/// The programs in the kernel, with maps of their own, attached to nothing.
struct Bench(Ebpf);

impl Bench {
    fn new() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(PROGRAMS).context("load the programs")?;
        for name in ["tc_to_pod", "tc_from_pod"] {
            let program: &mut SchedClassifier = ebpf.program_mut(name).context("no such program")?.try_into()?;
            program.load().with_context(|| format!("load {name}"))?;
        }
        Ok(Self(ebpf))
    }

    /// The verdict, and the packet after it.
    fn run(&self, program: &str, packet: &[u8]) -> Result<(i32, Vec<u8>)> {
        let program: &SchedClassifier = self.0.program(program).context("no such program")?.try_into()?;
        let mut out = vec![0; packet.len() + 64];
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        options.data_out = Some(&mut out);
        let result = program.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value.cast_signed(), out))
    }

    fn counted(&self, reason: PacketReason) -> Result<u64> {
        let counts: Array<&MapData, u64> = self.0.map("PACKET_COUNTS").context("no counters")?.try_into()?;
        Ok(counts.get(&(reason as u32), 0)?)
    }

    /// Limits the connections of a backend whose pod has no network namespace: no socket is found.
    fn limit(&mut self, backend: IpAddr, id: u32, limit: u64) -> Result<()> {
        let mut entry = [0_u8; 64];
        entry[8..16].copy_from_slice(&limit.to_ne_bytes());
        entry[16..24].copy_from_slice(&0x7fff_ffff_u64.to_ne_bytes());
        let map = self.0.map_mut("INBOUND").context("no backends")?;
        Array::<&mut MapData, [u8; 64]>::try_from(map)?.set(id, entry, 0)?;
        let map = self.0.map_mut("INBOUND_BACKENDS").context("no backends")?;
        HashMap::<&mut MapData, [u8; 20], u32>::try_from(map)?.insert(key(backend, PORTS[1]), id, 0)?;
        Ok(())
    }

    /// How many connections a backend has.
    fn active(&self, id: u32) -> Result<u64> {
        let map: Array<&MapData, [u8; 64]> = self.0.map("INBOUND").context("no backends")?.try_into()?;
        let entry = map.get(&id, 0)?;
        Ok(u64::from_ne_bytes(entry[..8].try_into()?))
    }
}

fn key(address: IpAddr, port: u16) -> [u8; 20] {
    let key = FrontendKey::new(Address::from(address), Port::from_host(port), Protocol::Tcp);
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&key.address.0);
    bytes[16..18].copy_from_slice(&key.port.network().to_ne_bytes());
    bytes[18] = key.protocol;
    bytes
}

const TCP: u8 = IpProto::Tcp as u8;

/// Both families: a frame of each with this segment, and the server's address.
fn both(segment: &[u8]) -> [(Vec<u8>, IpAddr); 2] {
    [
        (v4(TCP, 0, segment), IpAddr::from([10, 0, 0, 2])),
        (v6(TCP, segment), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 2])),
    ]
}

#[test]
fn the_loaded_programs_say_what_the_table_says() -> Result<()> {
    let bench = Bench::new()?;
    // The kernel itself takes no frame here that is shorter than its IP header (EINVAL); the parser's own test has those.
    let whole = |packet: &[u8]| packet.len() >= if packet[12..14] == [0x86, 0xdd] { 54 } else { 34 };
    for Example { description, packet, verdict } in examples().into_iter().filter(|example| whole(&example.packet)) {
        for program in ["tc_to_pod", "tc_from_pod"] {
            let before = verdict.err().map(|reason| bench.counted(reason)).transpose()?;
            let (action, out) = bench.run(program, &packet).with_context(|| description.to_owned())?;
            ensure!(action == if verdict.is_ok() { PASS } else { DROP }, "{description}: {program} says {action}");
            ensure!(out == packet, "{description}: {program} changed it");
            let after = verdict.err().map(|reason| bench.counted(reason)).transpose()?;
            ensure!(after == before.map(|count| count + 1), "{description}: {before:?}, then {after:?}");
        }
    }
    Ok(())
}

/// What lies in a frame with a TCP segment without options: checksums are checked.
fn reset(frame: &[u8]) -> Result<(Vec<u8>, u16, u16, u32, u32, u8)> {
    let is_v4 = frame[12] == 8;
    let transport = if is_v4 { 34 } else { 54 };
    let addresses = if is_v4 { &frame[26..34] } else { &frame[22..54] };
    ensure!(frame.len() == transport + 20, "{} bytes", frame.len());
    if is_v4 {
        ensure!(checksum(&frame[14..34], 0) == 0xffff, "the IPv4 checksum: {:x?}", &frame[14..34]);
        ensure!(frame[16..18] == [0, 40] && frame[22] == 64, "{:x?}", &frame[14..34]);
    } else {
        ensure!(frame[18..20] == [0, 20] && frame[21] == 64, "{:x?}", &frame[14..54]);
    }
    let pseudo = u32::from(checksum(addresses, 6 + 20));
    ensure!(checksum(&frame[transport..], pseudo) == 0xffff, "the TCP checksum: {:x?}", &frame[transport..]);
    let half = |at: usize| u16::from_be_bytes([frame[transport + at], frame[transport + at + 1]]);
    let word = |at: usize| u32::from(half(at)) << 16 | u32::from(half(at + 2));
    let ends = [&frame[..12], addresses].concat();
    ensure!(half(12) >> 12 == 5, "a header of {} words", half(12) >> 12);
    Ok((ends, half(0), half(2), word(4), word(8), frame[transport + 13]))
}

#[test]
fn a_syn_to_a_full_backend_comes_back_as_a_rst() -> Result<()> {
    let mut bench = Bench::new()?;
    for (id, length) in [(1, 5), (2, 10)] {
        for (packet, backend) in both(&tcp(length, Flags::SYN, &[])) {
            bench.limit(backend, id, 1)?;
            ensure!(bench.run("tc_to_pod", &packet)?.0 == PASS, "there is room");
            bench.limit(backend, id, 0)?;
            let (action, out) = bench.run("tc_to_pod", &packet)?;
            ensure!(action == REDIRECT, "{action}");
            let (ends, from, to, sequence, acknowledgement, flags) = reset(&out)?;
            let is_v4 = packet[12] == 8;
            let size = if is_v4 { 4 } else { 16 };
            let source = if is_v4 { 26 } else { 22 };
            let turned = [
                &packet[6..12],
                &packet[..6],
                &packet[source + size..source + 2 * size],
                &packet[source..source + size],
            ];
            ensure!(ends == turned.concat(), "{ends:x?}");
            ensure!([from, to] == [PORTS[1], PORTS[0]], "{from} {to}");
            ensure!((sequence, acknowledgement, flags) == (0, 1001, Flags::RST | Flags::ACK));
            ensure!(bench.active(id)? == 0);
        }
    }
    ensure!(bench.counted(PacketReason::InboundLimit)? == 4);
    Ok(())
}

#[test]
fn the_end_of_a_handshake_takes_a_slot_and_the_end_of_the_connection_gives_it_back() -> Result<()> {
    let mut bench = Bench::new()?;
    let segment = |flags| both(&tcp(5, flags, &[]));
    // The same connection, seen from the backend.
    let answer = |flags| {
        segment(flags).map(|(mut frame, backend)| {
            let (at, size, ports) = if frame[12] == 8 { (26, 4, 34) } else { (22, 16, 54) };
            let (client, server) = frame[at..at + 2 * size].split_at_mut(size);
            client.swap_with_slice(server);
            let (from, to) = frame[ports..ports + 4].split_at_mut(2);
            from.swap_with_slice(to);
            // What the client's segments acknowledge.
            frame[ports + 4..ports + 8].copy_from_slice(&1999_u32.to_be_bytes());
            (frame, backend)
        })
    };
    for family in 0..2 {
        let id = 7 + family as u32;
        let (ack, backend) = &segment(Flags::ACK)[family];
        bench.limit(*backend, id, 1)?;
        let run = |bench: &Bench, program, packet: &[(Vec<u8>, IpAddr); 2], active| -> Result<()> {
            let (action, out) = bench.run(program, &packet[family].0)?;
            ensure!(action == PASS && out == packet[family].0, "{action}");
            ensure!(bench.active(id)? == active, "{} open, not {active}", bench.active(id)?);
            Ok(())
        };
        let fin = Flags::FIN | Flags::ACK;
        let opens = |bench: &Bench| -> Result<()> {
            run(bench, "tc_to_pod", &segment(Flags::ACK), 0)?;
            run(bench, "tc_to_pod", &segment(Flags::SYN), 0)?;
            run(bench, "tc_from_pod", &answer(Flags::SYN | Flags::ACK), 0)?;
            (0..3).try_for_each(|_| run(bench, "tc_to_pod", &segment(Flags::ACK), 1))
        };
        opens(&bench)?;
        // Each way to end: FIN from both, in either order and again; RST from either.
        run(&bench, "tc_to_pod", &segment(fin), 1)?;
        run(&bench, "tc_to_pod", &segment(fin), 1)?;
        run(&bench, "tc_from_pod", &answer(Flags::ACK), 1)?;
        run(&bench, "tc_from_pod", &answer(fin), 0)?;
        run(&bench, "tc_from_pod", &answer(fin), 0)?;
        opens(&bench)?;
        run(&bench, "tc_from_pod", &answer(fin), 1)?;
        run(&bench, "tc_to_pod", &segment(fin), 0)?;
        opens(&bench)?;
        run(&bench, "tc_to_pod", &segment(Flags::RST), 0)?;
        run(&bench, "tc_to_pod", &segment(Flags::RST), 0)?;
        opens(&bench)?;
        run(&bench, "tc_from_pod", &answer(Flags::RST | Flags::ACK), 0)?;
        // A handshake that ends when there is no room: a RST to the pod, in place.
        run(&bench, "tc_from_pod", &answer(Flags::SYN | Flags::ACK), 0)?;
        bench.limit(*backend, id, 0)?;
        let (action, out) = bench.run("tc_to_pod", ack)?;
        ensure!(action == PASS, "{action}");
        let (ends, from, to, sequence, acknowledgement, flags) = reset(&out)?;
        let addresses = if ack[12] == 8 { &ack[26..34] } else { &ack[22..54] };
        ensure!(ends == [&ack[..12], addresses].concat() && [from, to] == PORTS, "{ends:x?}");
        ensure!((sequence, acknowledgement, flags) == (1000, 0, Flags::RST));
        ensure!(bench.active(id)? == 0);
    }
    ensure!(bench.counted(PacketReason::InboundRace)? == 2);
    Ok(())
}

#[test]
fn a_segment_that_speaks_as_a_service_is_dropped() -> Result<()> {
    let mut bench = Bench::new()?;
    for ((packet, backend), client) in
        both(&tcp(5, Flags::SYN, &[])).into_iter().zip(["10.0.0.1".parse::<IpAddr>()?, "fd00::1".parse()?])
    {
        bench.limit(backend, 3, UNLIMITED)?;
        let map = bench.0.map_mut("FRONTENDS").context("no frontends")?;
        HashMap::<&mut MapData, [u8; 20], u32>::try_from(map)?.insert(key(client, PORTS[0]), 1, 0)?;
        for program in ["tc_to_pod", "tc_from_pod"] {
            let (action, _) = bench.run(program, &packet)?;
            ensure!(action == DROP, "{program} says {action}");
        }
    }
    ensure!(bench.counted(PacketReason::SpoofedFrontend)? == 4);
    Ok(())
}
