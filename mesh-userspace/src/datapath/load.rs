//! Making the maps, or adopting those that a former agent pinned, and loading the programs over them.

use super::shape::{Shape, shapes};
use super::{Error, HOOKS, Hook, PACKET_HOOKS, PROGRAMS, Pins, RECOUNT};
use aya::programs::{Program, ProgramError, ProgramFd};
use aya::{Btf, Ebpf, EbpfLoader};
use aya_obj::Object;
use mesh_common::reason::Reason;
use mesh_common::tables::sizes;
use std::os::fd::{AsFd, OwnedFd};

/// How many entries each table holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// `FRONTENDS`.
    pub frontends: u32,
    /// `ADDRESSES`.
    pub addresses: u32,
    /// `SERVICES`, `TRAFFIC` and `OUTLIERS`, and sixteen times as many counters.
    pub services: u32,
    /// `SLOTS`.
    pub slots: u32,
    /// `BACKENDS`.
    pub backends: u32,
    /// `CONNECTIONS`.
    pub connections: u32,
    /// `FLOWS` and `REPLIES`.
    pub flows: u32,
    /// `AFFINITY`.
    pub affinities: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            frontends: sizes::FRONTENDS,
            addresses: sizes::ADDRESSES,
            services: sizes::SERVICES,
            slots: sizes::SLOTS,
            backends: sizes::BACKENDS,
            connections: sizes::CONNECTIONS,
            flows: sizes::FLOWS,
            affinities: sizes::AFFINITIES,
        }
    }
}

impl Sizes {
    /// The size of a map by name; `None` for one that has one size only.
    pub fn of(&self, map: &str) -> Option<u32> {
        Some(match map {
            "FRONTENDS" => self.frontends,
            "ADDRESSES" => self.addresses,
            "SERVICES" | "TRAFFIC" | "OUTLIERS" => self.services,
            "REASON_COUNTS" => self.services.saturating_mul(Reason::COLUMNS),
            "SLOTS" => self.slots,
            "BACKENDS" => self.backends,
            "CONNECTIONS" => self.connections,
            "FLOWS" | "REPLIES" => self.flows,
            "AFFINITY" => self.affinities,
            _ => return None,
        })
    }
}

/// The programs in the kernel, not yet attached, and the pinned maps that they use.
pub struct Loaded {
    ebpf: Ebpf,
    shapes: Vec<Shape>,
    pins: Pins,
    /// Whether the maps were a former agent's.
    pub adopted: bool,
}

/// Makes the maps or adopts the pinned ones, and has the kernel verify every program. Attaches nothing.
pub fn load(pins: &Pins, sizes: &Sizes) -> Result<Loaded, Error> {
    pins.prepare()?;
    let shapes = shapes(&Object::parse(PROGRAMS).map_err(Error::Object)?, sizes);
    for shape in &shapes {
        shape.check(pins)?;
    }
    let adopted = shapes.iter().all(|shape| pins.map(&shape.name).exists());
    let btf = Btf::from_sys_fs().ok();
    let mut loader = EbpfLoader::new();
    loader.btf(btf.as_ref());
    for shape in &shapes {
        loader.map_max_entries(&shape.name, shape.max_entries);
        loader.map_pin_path(&shape.name, pins.map(&shape.name));
    }
    let mut ebpf = loader.load(PROGRAMS).map_err(Error::Load)?;
    for hook in &HOOKS {
        let program = ebpf.program_mut(hook.name).ok_or(Error::NoProgram(hook.name))?;
        verify(program).map_err(|source| Error::Program { program: hook.name, source })?;
    }
    for name in PACKET_HOOKS.iter().map(|hook| hook.name).chain([RECOUNT]) {
        let program = ebpf.program_mut(name).ok_or(Error::NoProgram(name))?;
        // A kernel that refuses them serves Services all the same; who asks for the program hears of it.
        if let Err(error) = verify(program) {
            tracing::warn!(%error, "the kernel does not take {name}: limits at backends cannot be kept");
        }
    }
    Ok(Loaded { ebpf, shapes, pins: pins.clone(), adopted })
}

fn verify(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

impl Loaded {
    /// A descriptor of the map of this name.
    pub fn map(&self, name: &str) -> Result<OwnedFd, Error> {
        self.pins.open_map(name)
    }

    /// Name and size of every map.
    pub fn maps(&self) -> impl Iterator<Item = (&str, u32)> {
        self.shapes.iter().map(|shape| (shape.name.as_str(), shape.max_entries))
    }

    /// The pins.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The verified program of a hook.
    pub(super) fn program(&self, hook: &Hook) -> Result<&ProgramFd, Error> {
        let program = self.ebpf.program(hook.name).ok_or(Error::NoProgram(hook.name))?;
        program.fd().map_err(|source| Error::Program { program: hook.name, source })
    }

    /// A descriptor of a verified program for packets.
    pub fn packet_program(&self, name: &'static str) -> Result<OwnedFd, Error> {
        let program = self.ebpf.program(name).ok_or(Error::NoProgram(name))?;
        let fd = program.fd().map_err(|source| Error::Program { program: name, source })?;
        fd.as_fd().try_clone_to_owned().map_err(Error::io("duplicate the descriptor of", name))
    }
}
