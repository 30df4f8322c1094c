//! Programs as people write them, through a Service: Python, asyncio, curl and C.

use super::{Shop, tcp};
use anyhow::{Result, ensure};
use mesh_tests::expect::counts;
use mesh_tests::manifest::limits;
use mesh_tests::wait::wait_for;

#[test]
fn curl_fetches_a_page() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let pod = shop.world.pod("curl")?;
    for url in ["http://10.96.0.10/page", "http://[fd00:10:96::10]/page"] {
        let page = pod.curl(url)?;
        assert!(page.starts_with("web-") && page.ends_with(" /page\n"), "{page}");
    }
    let error = pod.curl("http://10.96.0.10:81/").unwrap_err().to_string();
    assert!(error.contains("exit status: 7"), "curl: failed to connect: {error}");
    // It prints what it is connected to.
    let peer =
        pod.run("curl", &["--silent", "-o", "/dev/null", "-w", "%{remote_ip} %{remote_port}", "http://10.96.0.10/"])?;
    assert_eq!(peer, "10.96.0.10 80");
    Ok(())
}

#[test]
fn plain_python_connects_speaks_and_is_refused() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let said = shop.world.pod("python")?.python(
        "
import socket, urllib.request
for address in ('10.96.0.10', 'fd00:10:96::10', '::ffff:10.96.0.10'):
    with socket.create_connection((address, 80), timeout=5) as s:
        assert s.getpeername()[:2] == (address, 80), s.getpeername()
        s.sendall(b'hello\\n')
        assert s.makefile().readline().endswith('hello\\n')
print(urllib.request.urlopen('http://10.96.0.10/x', timeout=5).status)
try:
    socket.create_connection(('10.96.0.10', 81), timeout=5)
except ConnectionRefusedError:
    print('refused')
s = socket.socket()
s.setblocking(False)
print(s.connect_ex(('10.96.0.10', 81)))
",
    )?;
    assert_eq!(said, format!("200\nrefused\n{}\n", nix::libc::ECONNREFUSED));
    Ok(())
}

#[test]
fn asyncio_knows_a_refusal_from_a_connection() -> Result<()> {
    let shop = Shop::with_pods(2)?;
    let agent = shop.world.agent();
    shop.world.apply(&limits("web", Some(20), None))?;
    wait_for("the limit", || {
        let limit = &agent.service("default", "web")?["maxConnections"];
        ensure!(limit == 20, "{limit}");
        Ok(())
    })?;
    let said = shop.world.pod("python")?.python(
        "
import asyncio
async def once():
    try:
        reader, writer = await asyncio.open_connection('10.96.0.10', 80)
    except ConnectionRefusedError:
        return 'refused'
    assert writer.get_extra_info('peername') == ('10.96.0.10', 80)
    writer.write(b'hello\\n')
    line = await asyncio.wait_for(reader.readline(), 5)
    assert line.endswith(b'hello\\n'), line
    return writer
async def main():
    results = await asyncio.gather(*(once() for _ in range(50)))
    writers = [r for r in results if r != 'refused']
    print(len(writers), results.count('refused'))
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    print(await once() != 'refused')
    loop = asyncio.get_running_loop()
    got = loop.create_future()
    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            got.done() or got.set_result(address)
    transport, _ = await loop.create_datagram_endpoint(Receiver, remote_addr=('10.96.0.10', 53))
    transport.sendto(b'who')
    print(*await asyncio.wait_for(got, 5))
asyncio.run(main())
",
    )?;
    assert_eq!(said, "20 30\nTrue\n10.96.0.10 53\n");
    counts(agent, "web", &[])
}

/// Connects without blocking, polls, asks and checks the peer, from several threads at once.
const C_CLIENT: &str = r#"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int connect_to(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "10.96.0.10", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
    int error = errno;
    socklen_t length = sizeof error;
    if (error == EINPROGRESS) {
        struct pollfd waited = {.fd = fd, .events = POLLOUT};
        error = poll(&waited, 1, 5000) == 1 ? 0 : ETIMEDOUT;
        if (error == 0) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    }
    if (error == 0) return fd;
    close(fd);
    errno = error;
    return -1;
}

static void *many(void *unused) {
    (void)unused;
    for (int i = 0; i < 100; i++) {
        char answer[256] = {0};
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        int fd = connect_to(80);
        if (fd < 0) return "connect";
        if (getpeername(fd, (struct sockaddr *)&peer, &length)) return "getpeername";
        if (ntohl(peer.sin_addr.s_addr) != 0x0a60000a || ntohs(peer.sin_port) != 80) return "the peer";
        if (write(fd, "hello\n", 6) != 6) return "write";
        struct pollfd waited = {.fd = fd, .events = POLLIN};
        if (poll(&waited, 1, 5000) != 1) return "poll";
        if (read(fd, answer, sizeof answer - 1) <= 0 || !strstr(answer, " hello\n")) return "the answer";
        if (close(fd)) return "close";
    }
    return NULL;
}

int main(void) {
    pthread_t threads[8];
    void *wrong;
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, many, NULL);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], &wrong);
        if (wrong) { printf("%s\n", (char *)wrong); return 1; }
    }
    if (connect_to(81) >= 0 || errno != ECONNREFUSED) { perror("port 81"); return 1; }
    puts("800 connections");
    return 0;
}
"#;

#[test]
fn a_threaded_c_program_connects_without_blocking() -> Result<()> {
    let shop = Shop::with_pods(3)?;
    let pod = shop.world.pod("c")?;
    let program = pod.compile("many", C_CLIENT)?;
    assert_eq!(pod.run(program, &[])?, "800 connections\n");
    counts(shop.world.agent(), "web", &[])?;
    assert_eq!(shop.client.connect(tcp())?.peer()?, tcp());
    Ok(())
}
