//! The `bpf()` calls that aya 0.14 lacks: batches, map and link facts, replacing the program behind a link.

#![expect(clippy::cast_sign_loss, reason = "descriptors are not negative")]
#![expect(unsafe_code, reason = "system calls on file descriptors and buffers that are borrowed for the call")]

use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_map_info, bpf_map_type, bpf_prog_info,
};
use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Insert only if the key is absent (`BPF_NOEXIST`).
pub const NO_EXIST: u64 = 1;

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: `attr` is a whole, initialised bpf_attr; every pointer in it outlives the call (callers borrow them).
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, mem::size_of::<bpf_attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}

fn zeroed() -> bpf_attr {
    // SAFETY: all-zero bytes are a valid bpf_attr: a union of plain integers.
    unsafe { mem::zeroed() }
}

/// Opens a pinned object.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins an object.
pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = fd.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// A map to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewMap<'a> {
    /// The map's type.
    pub kind: bpf_map_type,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries.
    pub max_entries: u32,
    /// `BPF_F_...`.
    pub flags: u32,
    /// For a map of maps: one like those that it will hold.
    pub inner: Option<BorrowedFd<'a>>,
}

impl Default for NewMap<'_> {
    fn default() -> Self {
        Self {
            kind: bpf_map_type::BPF_MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            flags: 0,
            inner: None,
        }
    }
}

/// Makes a map that lives as long as its descriptor.
pub fn create_map(map: &NewMap<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_1.map_type = map.kind as u32;
    attr.__bindgen_anon_1.key_size = map.key_size;
    attr.__bindgen_anon_1.value_size = map.value_size;
    attr.__bindgen_anon_1.max_entries = map.max_entries;
    attr.__bindgen_anon_1.map_flags = map.flags;
    attr.__bindgen_anon_1.inner_map_fd = map.inner.map_or(0, |fd| fd.as_raw_fd() as u32);
    let fd = bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Inserts or replaces one element. `key` and `value` must have the map's sizes.
pub fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = key.as_ptr() as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = value.as_ptr() as u64;
    attr.__bindgen_anon_2.flags = flags;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Removes one element; `false` when there was none.
pub fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<bool> {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = key.as_ptr() as u64;
    match bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attr) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes one element of a hash into `value`, in one step; `false` when there was none. Linux 5.14.
pub fn lookup_and_delete(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    element_out(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_ELEM, map, key, value)
}

/// Reads one element into `value`; `false` when there is none.
pub fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    element_out(bpf_cmd::BPF_MAP_LOOKUP_ELEM, map, key, value)
}

fn element_out(command: bpf_cmd, map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = key.as_ptr() as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = value.as_mut_ptr() as u64;
    match bpf(command, &mut attr) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Inserts or replaces `count` elements; the error carries how many went in before it.
pub fn update_batch(
    map: BorrowedFd<'_>,
    keys: &[u8],
    values: &[u8],
    count: u32,
    flags: u64,
) -> Result<(), (u32, io::Error)> {
    let mut attr = zeroed();
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.values = values.as_ptr() as u64;
    attr.batch.count = count;
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.elem_flags = flags;
    match bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr) {
        Ok(_) => Ok(()),
        // SAFETY: the kernel writes how many it did into `count`.
        Err(error) => Err((unsafe { attr.batch.count }.min(count), error)),
    }
}

/// Reads a whole hash map: keys and values, packed one after the other. Elements that come and go meanwhile may or may
/// not be in it.
pub fn read_all(map: BorrowedFd<'_>, key_size: usize, value_size: usize) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let mut chunk = 4096_usize;
    let (mut position, mut next) = ([0_u8; 64], [0_u8; 64]);
    let mut first = true;
    loop {
        let start = keys.len() / key_size;
        keys.resize((start + chunk) * key_size, 0);
        values.resize((start + chunk) * value_size, 0);
        let mut attr = zeroed();
        attr.batch.in_batch = if first { 0 } else { position.as_mut_ptr() as u64 };
        attr.batch.out_batch = next.as_mut_ptr() as u64;
        attr.batch.keys = keys[start * key_size..].as_mut_ptr() as u64;
        attr.batch.values = values[start * value_size..].as_mut_ptr() as u64;
        attr.batch.count = chunk as u32;
        attr.batch.map_fd = map.as_raw_fd() as u32;
        let result = bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
        // SAFETY: the kernel writes how many it read into `count`.
        let read = unsafe { attr.batch.count } as usize;
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        if errno == Some(libc::ENOSPC) {
            // One bucket holds more than the chunk: ask again with more room.
            keys.truncate(start * key_size);
            values.truncate(start * value_size);
            chunk *= 2;
            continue;
        }
        if let (Err(error), false) = (result, errno == Some(libc::ENOENT)) {
            return Err(error);
        }
        keys.truncate((start + read) * key_size);
        values.truncate((start + read) * value_size);
        if errno == Some(libc::ENOENT) {
            return Ok((keys, values));
        }
        position = next;
        first = false;
    }
}

fn info<T>(fd: BorrowedFd<'_>) -> io::Result<T> {
    // SAFETY: T is one of the kernel's plain info structs; zeroes are valid.
    let mut info: T = unsafe { mem::zeroed() };
    let mut attr = zeroed();
    attr.info.bpf_fd = fd.as_raw_fd() as u32;
    attr.info.info = &raw mut info as u64;
    attr.info.info_len = mem::size_of::<T>() as u32;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// What the kernel says of a map.
pub fn map_info(fd: BorrowedFd<'_>) -> io::Result<bpf_map_info> {
    info(fd)
}

/// What the kernel says of a link.
pub fn link_info(fd: BorrowedFd<'_>) -> io::Result<bpf_link_info> {
    info(fd)
}

/// What the kernel says of a program.
pub fn program_info(fd: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    info(fd)
}

/// Puts another program behind a link in one step: no connection passes without a program. The kernel checks only the
/// program's type, not its attach type; callers name pins by hook and check.
pub fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_update.link_fd = link.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Takes a link's program out of force before this returns. When the last pin and descriptor of a link go, the kernel
/// does it, too, but some time later.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// Attaches a program to a cgroup. Links are always multi-attach: others' programs run as well.
pub fn create_link(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>, attach_type: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_fd = cgroup.as_raw_fd() as u32;
    attr.link_create.attach_type = attach_type;
    let fd = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a network interface of the calling thread's namespace, after others' programs there. Linux 6.6.
pub fn create_interface_link(program: BorrowedFd<'_>, interface: u32, attach_type: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_ifindex = interface;
    attr.link_create.attach_type = attach_type;
    let fd = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether the kernel has TCX, which programs are attached to interfaces by with links. It came in one commit with this question
/// (Linux 6.6, e420bed02507), asked of an interface that nobody has: a kernel that knows what is meant misses the interface,
/// one that does not (or is built without) refuses the question.
pub fn has_tcx() -> io::Result<bool> {
    let mut attr = zeroed();
    attr.query.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
    match bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr) {
        Ok(_) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENODEV) => Ok(true),
            Some(libc::EINVAL) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Runs a program for packets so many times on this packet, 1 or more, and returns what it returned last, and how long it took
/// on average. Where it changes the packet, the next run sees that.
pub fn run_on_packet(program: BorrowedFd<'_>, packet: &[u8], times: u32) -> io::Result<(u32, Duration)> {
    let mut attr = zeroed();
    attr.test.prog_fd = program.as_raw_fd() as u32;
    attr.test.data_in = packet.as_ptr() as u64;
    attr.test.data_size_in = packet.len() as u32;
    attr.test.repeat = times;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: the kernel writes both, the latter in nanoseconds.
    let (value, mean) = unsafe { (attr.test.retval, attr.test.duration) };
    Ok((value, Duration::from_nanos(mean.into())))
}

/// Whether a hash map holds no element.
pub fn is_empty(map: BorrowedFd<'_>) -> io::Result<bool> {
    let mut first = [0_u8; 64];
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    attr.__bindgen_anon_2.__bindgen_anon_1.next_key = first.as_mut_ptr() as u64;
    match bpf(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attr) {
        Ok(_) => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The ids of the programs that run for sockets of `cgroup` at one hook, inherited ones included, in the order in which
/// they run.
pub fn effective_programs(cgroup: BorrowedFd<'_>, attach_type: u32) -> io::Result<Vec<u32>> {
    const BPF_F_QUERY_EFFECTIVE: u32 = 1;
    let mut ids = vec![0_u32; 64];
    loop {
        let mut attr = zeroed();
        attr.query.__bindgen_anon_1.target_fd = cgroup.as_raw_fd() as u32;
        attr.query.attach_type = attach_type;
        attr.query.query_flags = BPF_F_QUERY_EFFECTIVE;
        attr.query.prog_ids = ids.as_mut_ptr() as u64;
        attr.query.__bindgen_anon_2.prog_cnt = ids.len() as u32;
        let result = bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr);
        // SAFETY: the kernel writes how many there are into `prog_cnt`.
        let there = unsafe { attr.query.__bindgen_anon_2.prog_cnt } as usize;
        match result {
            Ok(_) => {
                ids.truncate(there);
                return Ok(ids);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && there > ids.len() => ids.resize(there, 0),
            Err(error) => return Err(error),
        }
    }
}
