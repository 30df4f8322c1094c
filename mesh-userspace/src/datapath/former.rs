//! What a former agent of another layout left: its programs send nothing new anywhere once ours do, and go on giving
//! back and showing frontends until its last connection has ended.

use super::hooks::Role;
use super::unload::remove_layout;
use super::{Error, HOOKS, Pins, interfaces};
use crate::bpf;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// Takes other layouts' directing programs out of force, and removes the layouts that no connection needs any more.
/// Returns how many are left. Call it after this build's programs are attached, and again from time to time.
pub fn retire(pins: &Pins) -> Result<usize, Error> {
    let mut left = 0;
    for layout in pins.other_layouts()? {
        // Connections that are open count anew with this build's programs, from their next segment.
        interfaces::remove_all(&layout)?;
        for hook in HOOKS.iter().filter(|hook| hook.role == Role::Direct) {
            unpin(&layout.join("links").join(hook.name))?;
        }
        if is_idle(&layout)? {
            tracing::info!("the last connection of layout {} has ended: removing it", layout.display());
            remove_layout(&layout)?;
        } else {
            left += 1;
        }
    }
    Ok(left)
}

fn unpin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn is_idle(layout: &Path) -> Result<bool, Error> {
    let path = layout.join("maps").join("CONNECTIONS");
    if !path.exists() {
        return Ok(true);
    }
    let map = bpf::open_pin(&path).map_err(Error::io("open", &path))?;
    bpf::is_empty(map.as_fd()).map_err(Error::io("read", &path))
}
