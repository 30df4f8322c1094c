//! Taking the data path away.

use super::{Error, HOOKS, Pins, interfaces};
use crate::bpf;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// Detaches every program and removes every map below the pins, of every layout. Returns how many layouts there were.
/// Open connections go on to where they are; new ones are no longer balanced.
pub fn unload(pins: &Pins) -> Result<usize, Error> {
    let layouts = pins.layouts()?;
    if layouts.is_empty() {
        // Filters have no pins: they outlive those that somebody removed by hand.
        return Ok(usize::from(interfaces::remove_all(&pins.layout())?));
    }
    let _lock = pins.lock()?;
    for layout in &layouts {
        remove_layout(layout)?;
    }
    // Someone else's directory may be in it; then it stays.
    let _ = fs::remove_dir(pins.root());
    Ok(layouts.len())
}

/// Removes one layout: first what takes slots, then what gives them back, then the maps.
pub(super) fn remove_layout(layout: &Path) -> Result<(), Error> {
    let links = layout.join("links");
    for hook in HOOKS.iter().rev() {
        let path = links.join(hook.name);
        if path.exists() {
            // Unpinning alone leaves the program in force for a moment: the kernel frees the link later.
            let link = bpf::open_pin(&path).map_err(Error::io("open", &path))?;
            bpf::detach_link(link.as_fd()).map_err(Error::io("detach", &path))?;
            fs::remove_file(&path).map_err(Error::io("remove", path))?;
        }
    }
    interfaces::remove_all(layout)?;
    forget_inbound(&layout.join("maps"))?;
    for directory in [links, layout.join("maps")] {
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(Error::io("remove", directory))?;
        }
    }
    fs::remove_dir(layout).map_err(Error::io("remove", layout))
}

/// Hides all backends from the programs at interfaces: those that could not be taken off, being filters of another network
/// namespace, let everything through.
fn forget_inbound(maps: &Path) -> Result<(), Error> {
    let path = maps.join("INBOUND_BACKENDS");
    if !path.exists() {
        return Ok(());
    }
    let map = bpf::open_pin(&path).map_err(Error::io("open", &path))?;
    let read = || {
        let info = bpf::map_info(map.as_fd())?;
        let (key, value) = (info.key_size as usize, info.value_size as usize);
        let (keys, _) = bpf::read_all(map.as_fd(), key, value)?;
        keys.chunks_exact(key).try_for_each(|key| bpf::delete(map.as_fd(), key).map(drop))
    };
    read().map_err(Error::io("empty", &path))
}
