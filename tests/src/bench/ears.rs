//! Listening sockets in the backends' pods, owned by the one thread that also connects.
//!
//! So no other thread has to wake up within what is timed: on an idle virtual machine that costs more than the rest.

use crate::services::TARGET;
use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// A backend's pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Backend {
    /// The file of its network namespace.
    pub netns: PathBuf,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Backend {
    /// Where it listens.
    pub fn at(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, TARGET)
    }
}

/// A listening socket for each backend.
#[derive(Debug)]
pub struct Ears(Vec<TcpListener>);

impl Ears {
    /// Enters each backend's namespace, listens there, and comes back.
    pub fn open(backends: &[Backend]) -> Result<Self> {
        let home = File::open("/proc/thread-self/ns/net").context("open the own network namespace")?;
        let listeners = backends.iter().map(|backend| {
            let namespace = File::open(&backend.netns).with_context(|| backend.netns.display().to_string())?;
            setns(&namespace, CloneFlags::CLONE_NEWNET).context("enter a backend's network namespace")?;
            // Where a pod stands for many endpoints, it has their addresses, too.
            let everywhere = (Ipv4Addr::UNSPECIFIED, TARGET);
            let listener = TcpListener::bind(everywhere).with_context(|| format!("listen as {}", backend.at()))?;
            listener.set_nonblocking(true).context("do not block")?;
            Ok(listener)
        });
        let listeners: Result<Vec<_>> = listeners.collect();
        setns(&home, CloneFlags::CLONE_NEWNET).context("come back to the client's network namespace")?;
        listeners.map(Self)
    }

    /// The other end of the connection that was just made, whichever backend got it.
    pub fn accept(&self) -> Result<TcpStream> {
        // The handshake's last packet may still be on its way.
        for _ in 0..1000 {
            for listener in &self.0 {
                match listener.accept() {
                    Ok((stream, _)) => return Ok(stream),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error).context("accept"),
                }
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        bail!("no backend got the connection")
    }
}
