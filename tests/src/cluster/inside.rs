//! Asynchronous work on a thread inside a network namespace: sockets belong to where they are made.

use crate::world::Netns;
use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread inside, which runs what it is given until this is dropped.
#[derive(Debug)]
pub struct Inside {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Inside {
    /// Starts the thread.
    pub fn enter(netns: &Netns) -> Result<Self> {
        let namespace = netns.file();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let entered = || {
                setns(&namespace, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
                Builder::new_current_thread().enable_all().build().context("start a runtime")
            };
            match entered() {
                Ok(runtime) => {
                    tell.send(Ok(runtime.handle().clone())).ok();
                    runtime.block_on(stopped).ok();
                }
                Err(error) => {
                    tell.send(Err(error)).ok();
                }
            }
        });
        let handle = told.recv().context("start a thread")??;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs a future there and waits for what it gives.
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let (tell, told) = mpsc::channel();
        self.handle.spawn(async move {
            tell.send(work.await).ok();
        });
        told.recv().map_err(|_| anyhow!("work inside a network namespace panicked"))?
    }

    /// Starts a future there that nobody waits for; it ends with this at the latest.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
