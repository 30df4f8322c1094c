//! Links: pinned, so that they outlive the agent, and the program behind one is replaced in one step.

use super::{Attach, Programs};
use crate::bpf;
use crate::datapath::{Error, PACKET_HOOKS, PacketHook, Pins};
use aya_obj::generated::bpf_link_type;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The links of one layout.
#[derive(Debug)]
pub struct Tcx {
    pins: Pins,
    /// Interfaces behind whose links this agent's programs are.
    ours: BTreeSet<u32>,
}

impl Tcx {
    /// Over whatever an earlier agent left.
    pub fn new(pins: &Pins) -> Self {
        Self { pins: pins.clone(), ours: BTreeSet::new() }
    }

    fn attach_one(&self, hook: &PacketHook, program: &OwnedFd, interface: u32) -> Result<(), Error> {
        let failed = |source| Error::AttachInterface { program: hook.name, interface, source };
        let path = self.pins.link(&hook.pin(interface));
        if path.exists() {
            let link = bpf::open_pin(&path).map_err(Error::io("open", &path))?;
            if attached_to(&link, &path)? == Some((interface, hook.attach_type as u32)) {
                if self.ours.contains(&interface) {
                    return Ok(());
                }
                return bpf::update_link(link.as_fd(), program.as_fd()).map_err(failed);
            }
            // The link of an interface that is gone, and whose index another has now.
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        let link = bpf::create_interface_link(program.as_fd(), interface, hook.attach_type as u32).map_err(failed)?;
        bpf::pin(link.as_fd(), &path).map_err(Error::io("pin", path))
    }
}

impl Attach for Tcx {
    fn there(&mut self) -> Result<BTreeSet<u32>, Error> {
        Ok(pinned(&self.pins.layout().join("links"))?.into_iter().map(|(_, interface)| interface).collect())
    }

    fn attach(&mut self, interface: u32, programs: &Programs) -> Result<(), Error> {
        programs.iter().try_for_each(|(hook, program)| self.attach_one(hook, program, interface))?;
        self.ours.insert(interface);
        Ok(())
    }

    fn remove(&mut self, interface: u32) -> Result<(), Error> {
        self.ours.remove(&interface);
        let paths = PACKET_HOOKS.iter().map(|hook| self.pins.link(&hook.pin(interface)));
        paths.filter(|path| path.exists()).try_for_each(|path| remove(&path))
    }
}

/// Where a link is attached; `None` for another type of link. The index is 0 once the interface is gone.
fn attached_to(link: &OwnedFd, path: &Path) -> Result<Option<(u32, u32)>, Error> {
    let info = bpf::link_info(link.as_fd()).map_err(Error::io("inspect", path))?;
    if info.type_ != bpf_link_type::BPF_LINK_TYPE_TCX as u32 {
        return Ok(None);
    }
    #[expect(unsafe_code, reason = "a union of the kernel's")]
    // SAFETY: the link's type says that this is the live member.
    let tcx = unsafe { info.__bindgen_anon_1.tcx };
    Ok(Some((tcx.ifindex, tcx.attach_type)))
}

/// The links below a directory of pins, by hook and interface.
fn pinned(links: &Path) -> Result<Vec<(PacketHook, u32)>, Error> {
    let entries = match fs::read_dir(links) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", links)(error)),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let parse = |name: String| PACKET_HOOKS.iter().find_map(|hook| Some((*hook, hook.interface(&name)?)));
    Ok(names.filter_map(parse).collect())
}

/// Takes the program of a pinned link out of force, and the pin away.
fn remove(path: &Path) -> Result<(), Error> {
    // Unpinning alone leaves the program in force for a moment: the kernel frees the link later.
    let link = bpf::open_pin(path).map_err(Error::io("open", path))?;
    match bpf::detach_link(link.as_fd()) {
        // The interface is gone.
        Err(error) if error.raw_os_error() != Some(libc::ENOLINK) => return Err(Error::io("detach", path)(error)),
        _ => {}
    }
    fs::remove_file(path).map_err(Error::io("remove", path))
}

/// Takes the programs of all links below a directory of pins out of force. How many links there were.
pub fn remove_all(links: &Path) -> Result<usize, Error> {
    let there = pinned(links)?;
    there.iter().try_for_each(|(hook, interface)| remove(&links.join(hook.pin(*interface))))?;
    Ok(there.len())
}
