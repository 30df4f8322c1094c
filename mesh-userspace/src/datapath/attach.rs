//! Putting the programs in force: a new link, or in one step behind the link that a former agent pinned.

use super::{Cgroup, Error, HOOKS, Hook, Loaded, Pins};
use crate::bpf;
use aya_obj::generated::bpf_link_type;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

/// What is attached behind a hook's pin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// The cgroup's id; 0 when the cgroup is gone.
    pub cgroup: u64,
    /// The kernel's attach type.
    pub attach_type: u32,
    /// The program's id in the kernel.
    pub program: u32,
}

/// Attaches every program: first what gives slots back, then what takes them. A link that is pinned already keeps
/// serving while the program behind it is replaced.
pub fn attach(loaded: &Loaded, cgroup: &Cgroup) -> Result<(), Error> {
    for hook in &HOOKS {
        let program = loaded.program(hook)?;
        if let Some(link) = usable_link(loaded.pins(), hook, cgroup)? {
            bpf::update_link(link.as_fd(), program.as_fd()).map_err(attach_error(hook, cgroup))?;
            continue;
        }
        let link = bpf::create_link(program.as_fd(), cgroup.as_fd(), hook.attach_type as u32)
            .map_err(attach_error(hook, cgroup))?;
        let path = loaded.pins().link(hook.name);
        bpf::pin(link.as_fd(), &path).map_err(Error::io("pin", path))?;
    }
    Ok(())
}

/// What is attached behind the pin of a hook; `None` without a pin.
pub fn attached(pins: &Pins, hook: &Hook) -> Result<Option<Attached>, Error> {
    Ok(open(pins, hook)?.map(|(_, attached)| attached))
}

fn open(pins: &Pins, hook: &Hook) -> Result<Option<(OwnedFd, Attached)>, Error> {
    let path = pins.link(hook.name);
    if !path.exists() {
        return Ok(None);
    }
    let link = bpf::open_pin(&path).map_err(Error::io("open", &path))?;
    let info = bpf::link_info(link.as_fd()).map_err(Error::io("inspect", &path))?;
    if info.type_ != bpf_link_type::BPF_LINK_TYPE_CGROUP as u32 {
        let (found, wanted) = (format!("something of link type {}", info.type_), "a cgroup".to_owned());
        return Err(Error::Elsewhere { path, found, wanted });
    }
    #[expect(unsafe_code, reason = "a union of the kernel's")]
    // SAFETY: the link's type says that this is the live member.
    let cgroup = unsafe { info.__bindgen_anon_1.cgroup };
    Ok(Some((link, Attached { cgroup: cgroup.cgroup_id, attach_type: cgroup.attach_type, program: info.prog_id })))
}

/// The pinned link, if it is attached where it should be. One of a cgroup that is gone is unpinned.
fn usable_link(pins: &Pins, hook: &Hook, cgroup: &Cgroup) -> Result<Option<OwnedFd>, Error> {
    let Some((link, attached)) = open(pins, hook)? else { return Ok(None) };
    let path = pins.link(hook.name);
    if attached.attach_type != hook.attach_type as u32 {
        let describe = |attach_type| format!("attach type {attach_type}");
        let (found, wanted) = (describe(attached.attach_type), describe(hook.attach_type as u32));
        return Err(Error::Elsewhere { path, found, wanted });
    }
    if attached.cgroup == 0 {
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        return Ok(None);
    }
    if attached.cgroup != cgroup.id() {
        let found = format!("the cgroup with id {}", attached.cgroup);
        let wanted = format!("{} (id {})", cgroup.path().display(), cgroup.id());
        return Err(Error::Elsewhere { path, found, wanted });
    }
    Ok(Some(link))
}

fn attach_error(hook: &Hook, cgroup: &Cgroup) -> impl FnOnce(std::io::Error) -> Error {
    let (program, cgroup) = (hook.name, cgroup.path().to_path_buf());
    move |source| Error::Attach { program, cgroup, source }
}
