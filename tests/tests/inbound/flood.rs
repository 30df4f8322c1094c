//! SYNs alone use nothing up, and what no host sends does not arrive.

use super::{PORT, Scene, is_refused};
use anyhow::{Context, Result, ensure};
use std::thread;
use std::time::Duration;

/// Sends raw TCP segments over IPv4: `send(source, port, flags, sequence, acknowledgement)`.
const RAW: &str = r#"
import random, socket, struct, sys
def checksum(data):
    if len(data) % 2: data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xffff: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def send(source, port, flags, sequence=1, acknowledgement=0, words=5):
    a, b = socket.inet_aton(source), socket.inet_aton(TARGET)
    tcp = struct.pack("!HHIIBBHHH", port, PORT, sequence, acknowledgement, words << 4, flags, 65535, 0, 0)
    sum = checksum(a + b + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", sum) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, a, b)
    raw.sendto(ip + tcp, (TARGET, 0))
"#;

fn script(scene: &Scene, work: &str) -> String {
    format!("TARGET = '{}'\nPORT = {PORT}\n{RAW}\n{work}", scene.backend.v4())
}

#[test]
fn a_syn_flood_uses_nothing_up() -> Result<()> {
    let scene = Scene::new(Some(2))?;
    let flooder = scene.world.outsider("flooder")?;
    // Sources that nobody has: the SYN-ACKs are lost. Some are followed by an acknowledgement that guesses.
    let flood = "
for n in range(20000):
    source = '10.244.200.%d' % random.randrange(1, 60)
    port = random.randrange(1024, 65535)
    send(source, port, 0x02, random.randrange(1 << 32))
    if n % 4 == 0: send(source, port, 0x10, 2, random.randrange(1 << 32))
";
    for cookies in ["0", "1", "2"] {
        scene.backend.netns().sysctl(&[("ipv4/tcp_syncookies", cookies)])?;
        flooder.python(&script(&scene, flood))?;
        scene.counts(0)?;
        if cookies == "0" {
            // Nobody gets through: the backlog is full, with or without a limit.
            scene.backend.netns().sysctl(&[("ipv4/tcp_syncookies", "1")])?;
        }
        let held = scene.outsider.connect_many(scene.at(), 2)?;
        ensure!(held.iter().all(|held| held.server().is_ok_and(|server| server == "web-1")));
        scene.counts(2)?;
        is_refused(&scene.outsider, scene.at());
        drop(held);
        scene.counts(0)?;
    }
    scene.is_exact()
}

#[test]
fn what_no_host_sends_is_dropped_by_name_and_a_forged_rst_gives_nothing_back() -> Result<()> {
    let scene = Scene::new(Some(2))?;
    let rogue = scene.world.outsider("rogue")?;
    let held = scene.outsider.connect_many(scene.at(), 2)?;
    scene.counts(2)?;
    let local = held[0].local()?;
    let odd = format!(
        "
for flags in (0x00, 0x03, 0x06, 0x05, 0x29): send('10.244.200.1', 4000, flags)
send('10.244.200.1', 4000, 0x02, words=4)
send('10.96.0.10', 80, 0x02)
for n in range(100): send('{}', {}, 0x04, random.randrange(1 << 32))
",
        local.ip(),
        local.port()
    );
    rogue.python(&script(&scene, &odd))?;
    for reason in
        ["tcp-no-flags", "tcp-syn-fin", "tcp-syn-rst", "tcp-fin-rst", "tcp-no-ack", "tcp-header", "spoofed-frontend"]
    {
        let count = scene.packets(reason)?;
        ensure!(count == 1, "{reason}: {count}");
    }
    scene.counts(2)?;
    is_refused(&scene.outsider, scene.at());
    ensure!(held.iter().all(|held| held.server().is_ok_and(|server| server == "web-1")));
    Ok(())
}

#[test]
fn while_a_flood_rages_whose_handshakes_never_end_n_get_through_and_no_more() -> Result<()> {
    let scene = Scene::new(Some(3))?;
    // Few addresses and many ports: the table of neighbours is one for the whole machine, and small.
    // It has all of these addresses, so that every SYN-ACK reaches it, and can send nothing back but what it makes by hand.
    let flooder = scene.world.outsider("flooder")?;
    flooder.netns().ip("route add local 10.244.200.0/24 dev lo\n")?;
    let link = scene.backend.run("ip", &["-o", "link", "show", "eth0"])?;
    let mac = link.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).context("an address")?;
    let flood = format!(
        "
import time
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
frames.bind(('eth0', 0x0800))
header = bytes.fromhex('{}') + frames.getsockname()[4] + b'\\x08\\x00'
class Frames:
    def sendto(self, packet, _):
        # The kernel does this only for raw sockets of IP.
        packet = packet[:2] + struct.pack('!H', len(packet)) + packet[4:]
        packet = packet[:10] + struct.pack('!H', checksum(packet[:20])) + packet[12:]
        frames.send(header + packet)
raw = Frames()
end = time.monotonic() + 6
sent = 0
while time.monotonic() < end:
    source = '10.244.200.%d' % random.randrange(1, 60)
    send(source, random.randrange(1024, 65535), 0x02, random.randrange(1 << 32))
    sent += 1
    # As much as leaves the machine's other tests their packets: more would fill the processors' queues.
    if sent % 20 == 0: time.sleep(0.002)
print(sent)
",
        mac.replace(':', "")
    );
    // The kernel's own answers, RST to each SYN-ACK, stay within.
    flooder.netns().ip(&format!("route add blackhole {}/32\n", scene.backend.v4()))?;
    for cookies in ["1", "2"] {
        scene.backend.netns().sysctl(&[("ipv4/tcp_syncookies", cookies)])?;
        let sent: u64 = thread::scope(|scope| -> Result<u64> {
            let raging = scope.spawn(|| flooder.python(&script(&scene, &flood)));
            let mut held = Vec::new();
            while !raging.is_finished() {
                // A SYN of ours may be lost in the flood as others are; it comes again.
                held.extend(scene.outsider.connect_many(scene.at(), 3 - held.len())?);
                ensure!(held.iter().all(|held| held.server().is_ok_and(|server| server == "web-1")));
                is_refused(&scene.outsider, scene.at());
                let active = scene.inbound(scene.backend.v4())?["active"].as_u64();
                ensure!(active == Some(3), "{active:?} are counted");
                held.pop().context("one of three")?.close()?;
                scene.counts(2)?;
                // With a slot free the flood's SYNs are answered by the pod.
                thread::sleep(Duration::from_millis(300));
            }
            let said = raging.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??;
            drop(held);
            Ok(said.trim().parse()?)
        })?;
        let refused = scene.inbound(scene.backend.v4())?["refused"].as_u64().context("a count")?;
        println!("{sent} SYNs, cookies {cookies}, {refused} refused so far");
        ensure!(sent > 10_000 && refused < sent, "{sent} SYNs, {refused} refused");
        scene.counts(0)?;
    }
    Ok(())
}
