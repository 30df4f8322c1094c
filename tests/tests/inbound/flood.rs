//! SYNs alone use nothing up, and what no host sends does not arrive.

use super::{PORT, Scene, is_refused};
use anyhow::{Result, ensure};

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
    source = '10.244.200.%d' % random.randrange(1, 255)
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
    ensure!(scene.world.agent().status()?["inbound"]["drifted"] == 0);
    Ok(())
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
