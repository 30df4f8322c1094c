//! What can go wrong with the data path, and what to do about it.

use std::io;
use std::path::PathBuf;

/// A failure to load, attach, pin or remove.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup2 hierarchy.
    #[error(
        "no cgroup2 file system is mounted: mount one (mount -t cgroup2 none /sys/fs/cgroup) or name a directory with --cgroup"
    )]
    NoCgroup2,
    /// The named directory is not a cgroup2.
    #[error("{0} is not a directory of a cgroup2 file system: name one with --cgroup")]
    NotCgroup2(PathBuf),
    /// The pins are not on a BPF file system.
    #[error(
        "{0} is not on a BPF file system: mount one (mount -t bpf bpf /sys/fs/bpf) or choose another place with --pins"
    )]
    NotBpffs(PathBuf),
    /// Another agent holds the pins.
    #[error(
        "another agent runs on the pins in {0}: stop it first, or give this one its own --pins, --cgroup and --socket"
    )]
    Locked(PathBuf),
    /// A file operation failed.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The committed object could not be read.
    #[error("the programs in this binary cannot be read; build them with `cargo xtask build-ebpf`")]
    Object(#[source] aya_obj::ParseError),
    /// A pinned map has another shape than this build's.
    #[error(
        "the pinned map {path} has {field} {pinned}, this agent wants {wanted}: start it with the sizes that the pins were \
         made with, or take the data path away first with `mesh unload`"
    )]
    Mismatch {
        /// The pin.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// The pinned map's.
        pinned: u64,
        /// This build's.
        wanted: u64,
    },
    /// The maps could not be made.
    #[error("create the maps (a limit on locked memory, or CAP_BPF missing? `mesh doctor` tells)")]
    Load(#[source] aya::EbpfError),
    /// The verifier or the kernel refused a program.
    #[error("load program {program} (`mesh doctor` tells what this kernel lacks)")]
    Program {
        /// The program's name.
        program: &'static str,
        /// The cause, with the verifier's words.
        source: aya::programs::ProgramError,
    },
    /// The object lacks a program.
    #[error("the programs in this binary lack {0}; build them with `cargo xtask build-ebpf`")]
    NoProgram(&'static str),
    /// Attaching failed.
    #[error("attach {program} to cgroup {cgroup}")]
    Attach {
        /// The program's name.
        program: &'static str,
        /// The cgroup's path.
        cgroup: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Attaching to an interface failed.
    #[error("attach {program} to the interface with index {interface} (`mesh doctor` tells what this kernel lacks)")]
    AttachInterface {
        /// The program's name.
        program: &'static str,
        /// The interface's index.
        interface: u32,
        /// The cause.
        source: io::Error,
    },
    /// Taking filters off an interface failed.
    #[error("take the filters off the interface with index {interface}")]
    DetachInterface {
        /// The interface's index.
        interface: u32,
        /// The cause.
        source: io::Error,
    },
    /// Another kind of qdisc is where clsact would be.
    #[error(
        "the interface with index {interface} has a qdisc of kind {kind} where clsact would be: who made it (a CNI's limit of \
         bandwidth?) must use clsact, or the kernel be Linux 6.6 or later"
    )]
    OtherQdisc {
        /// The interface's index.
        interface: u32,
        /// The qdisc's kind.
        kind: String,
    },
    /// A pinned link is attached somewhere else.
    #[error(
        "the pinned link {path} is attached to {found}, not to {wanted}: choose the --cgroup that it was made with, or take \
         the data path away first with `mesh unload`"
    )]
    Elsewhere {
        /// The pin.
        path: PathBuf,
        /// Where it is attached.
        found: String,
        /// Where it should be.
        wanted: String,
    },
}

impl Error {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
