//! The shape that each map must have; a pin of another shape is refused, never reused.

use super::{Error, Pins, Sizes};
use crate::bpf;
use aya_obj::Object;
use std::os::fd::AsFd;

/// A map as the object declares it, with the agent's sizes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    pub name: String,
    kind: u32,
    key_size: u32,
    value_size: u32,
    pub max_entries: u32,
    flags: u32,
}

/// Every map of the object.
pub fn shapes(object: &Object, sizes: &Sizes) -> Vec<Shape> {
    let mut shapes: Vec<_> = object
        .maps
        .iter()
        .map(|(name, map)| Shape {
            name: name.clone(),
            kind: map.map_type(),
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: sizes.of(name).unwrap_or_else(|| map.max_entries()),
            flags: map.map_flags(),
        })
        .collect();
    shapes.sort_by(|a, b| a.name.cmp(&b.name));
    shapes
}

impl Shape {
    /// Compares a pin, if there is one, with this shape.
    pub fn check(&self, pins: &Pins) -> Result<(), Error> {
        let path = pins.map(&self.name);
        if !path.exists() {
            return Ok(());
        }
        let fd = bpf::open_pin(&path).map_err(Error::io("open", &path))?;
        let info = bpf::map_info(fd.as_fd()).map_err(Error::io("inspect", &path))?;
        let facts = [
            ("type", info.type_, self.kind),
            ("key size", info.key_size, self.key_size),
            ("value size", info.value_size, self.value_size),
            ("size", info.max_entries, self.max_entries),
            ("flags", info.map_flags, self.flags),
        ];
        match facts.into_iter().find(|(_, pinned, wanted)| pinned != wanted) {
            None => Ok(()),
            Some((field, pinned, wanted)) => {
                Err(Error::Mismatch { path, field, pinned: pinned.into(), wanted: wanted.into() })
            }
        }
    }
}
