//! The programs for packets at interfaces: attached to those that are asked for and to no others, in a way that outlives the agent.
//!
//! | module | holds |
//! |---|---|
//! | `tcx` | links that are pinned: Linux 6.6 and later |
//! | `clsact` | filters of a clsact qdisc, for kernels without TCX |
//! | `name` | whose a filter is, told by its name |

mod clsact;
mod name;
mod tcx;

use super::{Error, Loaded, PACKET_HOOKS, PacketHook};
use crate::bpf;
use clsact::Clsact;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use tcx::Tcx;

/// How programs are attached to interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcAttach {
    /// By links.
    Tcx,
    /// By direct-action filters of a clsact qdisc.
    Clsact,
}

impl TcAttach {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Tcx, Self::Clsact];

    /// The word on the command line and in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// The way that this kernel allows: links, where it has them.
    pub fn of_kernel() -> Result<Self, Error> {
        let has_tcx = bpf::has_tcx().map_err(Error::io("ask the kernel for TCX by", "BPF_PROG_QUERY"))?;
        Ok(if has_tcx { Self::Tcx } else { Self::Clsact })
    }
}

/// This agent's programs, in the order in which they are attached.
type Programs = [(PacketHook, OwnedFd); PACKET_HOOKS.len()];

/// One way to attach them. All is done in the calling thread's network namespace.
trait Attach {
    /// The interfaces with programs of this layout, an earlier agent's included.
    fn there(&mut self) -> Result<BTreeSet<u32>, Error>;

    /// Attaches these programs, in place of an earlier agent's in one step.
    fn attach(&mut self, interface: u32, programs: &Programs) -> Result<(), Error>;

    /// Takes the programs of this layout off, if they are there.
    fn remove(&mut self, interface: u32) -> Result<(), Error>;
}

/// Keeps the programs at interfaces.
#[derive(Debug)]
pub struct InterfacePrograms {
    programs: Programs,
    way: TcAttach,
    tcx: Tcx,
    clsact: Clsact,
}

impl InterfacePrograms {
    /// Over whatever an earlier agent left, attached in whatever way.
    pub fn new(loaded: &Loaded, way: TcAttach) -> Result<Self, Error> {
        let [first, second] = PACKET_HOOKS;
        let program = |hook: PacketHook| Ok((hook, loaded.packet_program(hook.name)?));
        Ok(Self {
            programs: [program(first)?, program(second)?],
            way,
            tcx: Tcx::new(loaded.pins()),
            clsact: Clsact::new(&loaded.pins().layout()),
        })
    }

    /// How they are attached.
    pub fn way(&self) -> TcAttach {
        self.way
    }

    /// Attaches the programs to these interfaces of the calling thread's network namespace, and to no others. What an earlier agent
    /// attached in the other way goes once they are in force: meanwhile both run, and the second finds nothing left to do. What
    /// fails does not keep the others from being tried.
    pub fn keep(&mut self, interfaces: &BTreeSet<u32>) -> Vec<Error> {
        let (own, other): (&mut dyn Attach, &mut dyn Attach) = match self.way {
            TcAttach::Tcx => (&mut self.tcx, &mut self.clsact),
            TcAttach::Clsact => (&mut self.clsact, &mut self.tcx),
        };
        let mut errors = Vec::new();
        for way in [&mut *own, &mut *other] {
            match way.there() {
                Ok(there) => errors.extend(there.difference(interfaces).filter_map(|gone| way.remove(*gone).err())),
                Err(error) => errors.push(error),
            }
        }
        for &interface in interfaces {
            let attached = own.attach(interface, &self.programs).and_then(|()| other.remove(interface));
            errors.extend(attached.err());
        }
        errors
    }
}

/// Takes all programs for packets of one layout out of force: filters only of the calling thread's network namespace. Whether there
/// were any.
pub(super) fn remove_all(layout: &Path) -> Result<bool, Error> {
    Ok(tcx::remove_all(&layout.join("links"))? + clsact::remove_all(layout)? > 0)
}
