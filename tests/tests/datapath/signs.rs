//! What TCP tells of a backend after the handshake, on connections that are open: it goes silent, or it is slow.

use super::outlier::{Scene, ejected, explained};
use anyhow::{Result, ensure};
use mesh_tests::echo::Listen;
use mesh_tests::wait::wait_for;
use serde_json::json;
use std::time::Duration;

/// Connects until as many connections as it is told have reached `bad`, sends 500 bytes over each, waits until the kernel
/// has sent them a third time, and closes all. Prints how often it connected.
const LEAVE_SILENT: &str = "
import socket, sys, time
held, connects = [], 0
while len(held) < int(sys.argv[1]):
    s = socket.create_connection(('10.96.0.10', 80))
    connects += 1
    s.sendall(b'who\\n')
    if s.recv(100).startswith(b'bad '):
        s.sendall(b'x' * 499 + b'\\n')
        held.append(s)
# tcpi_retransmits: timeouts in a row.
while not all(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[2] >= 2 for s in held):
    time.sleep(0.01)
print(connects)
";

#[test]
fn a_backend_that_goes_silent_on_open_connections_is_out_after_as_many() -> Result<()> {
    let scene = Scene::with(3, &json!({"consecutiveFailures": 3, "baseEjectionSeconds": 60}))?;
    let _server = scene.bad.serve(&[Listen::tcp(8080)])?;
    // Small packets pass: handshakes succeed all the time, and so does a short question.
    let hole = "table inet hole { chain in { type filter hook input priority 0 ; meta length > 400 drop ; } ; }";
    scene.bad.run("nft", &[hole])?;
    let patient = scene.world.pod("patient")?;
    let leave_silent = |count: &str| patient.run("python3", &["-c", LEAVE_SILENT, count]);
    leave_silent("2")?;
    assert_eq!(ejected(scene.agent())?, 0, "two are not three, and their closing says nothing for it");
    leave_silent("1")?;
    assert_eq!(ejected(scene.agent())?, 1);
    let why = &explained(scene.agent())?["bad"].1;
    assert!(why.contains("3 consecutive failures: reset soon after the handshake, or silent after it"), "{why}");
    let (answers, failed) = scene.visit(120)?;
    assert!(failed == 0 && !answers.contains_key("bad") && answers.len() == 3, "{answers:?}");
    Ok(())
}

#[test]
fn a_connection_that_loses_a_packet_is_no_failure() -> Result<()> {
    let scene =
        Scene::with(1, &json!({"consecutiveFailures": 1, "baseEjectionSeconds": 60, "maxEjectionPercent": 100}))?;
    let _server = scene.bad.serve(&[Listen::tcp(8080)])?;
    // Every second large packet is lost: what is sent again passes.
    let lossy = "table inet lossy { chain in { type filter hook input priority 0 ; \
                 meta length > 400 numgen inc mod 2 0 drop ; } ; }";
    scene.bad.run("nft", &[lossy])?;
    let script = "
import socket
bad = 0
while bad < 10:
    s = socket.create_connection(('10.96.0.10', 80))
    s.sendall(b'x' * 499 + b'\\n')
    bad += s.recv(1000).startswith(b'bad ')
";
    scene.world.pod("patient")?.python(script)?;
    assert_eq!(ejected(scene.agent())?, 0);
    Ok(())
}

/// Visits until the slow pod takes no more. After how many answers that is says a property test of the estimates; here the
/// others' answers wait for a processor, and by up to 10 ms they may do so without the slow one being three times as slow.
fn visit_until_out(scene: &Scene) -> Result<()> {
    wait_for("the slow one to be out", || {
        let (answers, failed) = scene.visit(100)?;
        ensure!(failed == 0, "{failed} failed: {answers:?}");
        ensure!(!answers.contains_key("bad") && answers.len() == 4, "{answers:?}");
        Ok(())
    })
}

#[test]
fn a_backend_that_is_slow_by_20_ms_is_out_and_no_other() -> Result<()> {
    let detection = json!({
        "consecutiveFailures": 5, "slowAnswerPercent": 300, "slowAnswerMilliseconds": 5,
        "baseEjectionSeconds": 600, "maxEjectionSeconds": 600,
    });
    let scene = Scene::with(4, &detection)?;
    let _slow = scene.bad.serve_after(Duration::from_millis(20), &[Listen::tcp(8080)])?;
    visit_until_out(&scene)?;
    let why = &explained(scene.agent())?["bad"].1;
    assert!(
        why.starts_with("ejected for another ") && why.ends_with("its answers are slower than the others'"),
        "{why}"
    );
    assert_eq!(ejected(scene.agent())?, 1);
    let notes = scene.agent().ask(&["explain", "tcp", "10.96.0.10:80"])?["notes"].to_string();
    assert!(notes.contains("outlier detection: answers take ") && notes.contains("; of the slowest, "), "{notes}");
    // The others take what it does not, in equal parts.
    let (answers, failed) = scene.visit(400)?;
    assert!(
        failed == 0 && answers.len() == 4 && answers.values().all(|count| (60..=140).contains(count)),
        "{answers:?}"
    );
    Ok(())
}

#[test]
fn a_slow_backend_comes_back_and_stays_once_it_is_quick_also_without_an_agent() -> Result<()> {
    let detection = json!({
        "consecutiveFailures": 5, "slowAnswerPercent": 300, "baseEjectionSeconds": 2, "maxEjectionSeconds": 2,
    });
    let scene = Scene::with(4, &detection)?;
    let mut slow = scene.bad.serve_after(Duration::from_millis(20), &[Listen::tcp(8080)])?;
    scene.agent().kill()?;
    visit_until_out(&scene)?;
    wait_for("it to be tried again", || {
        ensure!(scene.visit(20)?.0.contains_key("bad"));
        Ok(())
    })?;
    visit_until_out(&scene)?;
    slow.kill();
    let _quick = scene.bad.serve(&[Listen::tcp(8080)])?;
    wait_for("it to be back", || {
        let (answers, failed) = scene.visit(100)?;
        ensure!(failed == 0 && answers.get("bad").is_some_and(|count| *count >= 5), "{failed}: {answers:?}");
        Ok(())
    })?;
    let (answers, failed) = scene.visit(1_000)?;
    assert!(failed == 0 && answers["bad"] >= 100, "{answers:?}");
    Ok(())
}

/// Delays every packet that the pod sends by 20 ms: what its own sockets send goes out through a tun device, is held there,
/// and comes back in to be forwarded.
const SLOW_NETWORK: &str = "
import fcntl, heapq, os, select, struct, subprocess, time
def run(line): subprocess.run(line.split(), check=True)
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH', b'slow', 0x1001)) # TUNSETIFF: IFF_TUN | IFF_NO_PI
for name, value in [('ip_forward', 1), ('conf/all/rp_filter', 0), ('conf/slow/rp_filter', 0), ('conf/slow/accept_local', 1)]:
    open('/proc/sys/net/ipv4/' + name, 'w').write(str(value))
run('ip link set slow up')
run('ip route add default dev slow table 100')
run('ip rule add iif lo lookup 100')
print('ready', flush=True)
waiting = []
while True:
    rest = max(0, waiting[0][0] - time.monotonic()) if waiting else None
    if select.select([tun], [], [], rest)[0]:
        heapq.heappush(waiting, (time.monotonic() + 0.02, os.read(tun, 2000)))
    while waiting and waiting[0][0] <= time.monotonic():
        os.write(tun, heapq.heappop(waiting)[1])
";

#[test]
fn a_backend_whose_network_is_slow_by_20_ms_is_out_too() -> Result<()> {
    let detection = json!({
        "consecutiveFailures": 5, "slowAnswerPercent": 300, "baseEjectionSeconds": 600, "maxEjectionSeconds": 600,
    });
    let scene = Scene::with(4, &detection)?;
    let _quick = scene.bad.serve(&[Listen::tcp(8080)])?;
    let _network = scene.bad.start("python3", &["-c".to_owned(), SLOW_NETWORK.to_owned()])?;
    visit_until_out(&scene)?;
    assert_eq!(ejected(scene.agent())?, 1);
    assert!(explained(scene.agent())?["bad"].1.ends_with("its answers are slower than the others'"));
    Ok(())
}

#[test]
fn answers_are_measured_from_the_question_and_not_looked_at_unless_asked_for() -> Result<()> {
    // Clients that connect long before they ask, and one whose question takes its time.
    let script = "
import socket, time
for n in range(60):
    s = socket.create_connection(('10.96.0.10', 80))
    if n % 2:
        time.sleep(0.03)
        s.sendall(b'who\\n')
    else:
        s.sendall(b'w')
        time.sleep(0.03)
        s.sendall(b'ho\\n')
    s.recv(100)
    s.close()
";
    let slow = json!({"consecutiveFailures": 5, "slowAnswerPercent": 300, "baseEjectionSeconds": 60});
    let scene = Scene::with(3, &slow)?;
    let _quick = scene.bad.serve(&[Listen::tcp(8080)])?;
    scene.visit(200)?;
    scene.world.pod("thinking")?.python(script)?;
    assert_eq!(ejected(scene.agent())?, 0);
    // Without the wish, a slow one serves like the others.
    let scene = Scene::with(3, &json!({"consecutiveFailures": 1}))?;
    let _slow = scene.bad.serve_after(Duration::from_millis(20), &[Listen::tcp(8080)])?;
    scene.visit(200)?;
    assert_eq!(ejected(scene.agent())?, 0);
    Ok(())
}
