//! A program that does nothing, at the connect hook: what the statistics show of it is their own cost.

#![expect(unsafe_code, reason = "a system call that nobody wraps without an object file")]

use anyhow::{Context, Result};
use aya_obj::generated::bpf_attach_type::BPF_CGROUP_INET4_CONNECT;
use aya_obj::generated::bpf_prog_type::{self, BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_PROG_TYPE_SCHED_CLS};
use aya_obj::generated::{bpf_attr, bpf_cmd};
use mesh_userspace::bpf;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::Path;

/// `r0 = value; exit`.
const fn return_value(value: i32) -> [[u8; 8]; 2] {
    let [a, b, c, d] = value.to_le_bytes();
    [[0xb7, 0, 0, 0, a, b, c, d], [0x95, 0, 0, 0, 0, 0, 0, 0]]
}

/// The program, attached as long as this lives.
#[derive(Debug)]
pub struct Empty {
    link: OwnedFd,
}

impl Empty {
    /// Loads it and attaches it to a cgroup, beside what is there.
    pub fn attach(cgroup: &Path) -> Result<Self> {
        let program = load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT as u32, 1);
        let program = program.context("load a program that does nothing")?;
        let cgroup = File::open(cgroup).with_context(|| format!("open {}", cgroup.display()))?;
        let link = bpf::create_link(program.as_fd(), cgroup.as_fd(), BPF_CGROUP_INET4_CONNECT as u32);
        Ok(Self { link: link.context("attach a program that does nothing")? })
    }

    /// The program's id.
    pub fn id(&self) -> Result<u32> {
        Ok(bpf::link_info(self.link.as_fd()).context("inspect the link")?.prog_id)
    }
}

/// A program for packets that lets all pass, attached nowhere.
pub fn for_packets() -> Result<OwnedFd> {
    load(BPF_PROG_TYPE_SCHED_CLS, 0, -1).context("load a program that does nothing")
}

fn load(kind: bpf_prog_type, attach_type: u32, value: i32) -> io::Result<OwnedFd> {
    let instructions = return_value(value);
    // SAFETY: all-zero bytes are a valid bpf_attr: a union of plain integers.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.__bindgen_anon_3.prog_type = kind as u32;
    attr.__bindgen_anon_3.expected_attach_type = attach_type;
    attr.__bindgen_anon_3.insn_cnt = instructions.len() as u32;
    attr.__bindgen_anon_3.insns = instructions.as_ptr() as u64;
    attr.__bindgen_anon_3.license = c"GPL".as_ptr() as u64;
    let command = bpf_cmd::BPF_PROG_LOAD;
    // SAFETY: `attr` is a whole, initialised bpf_attr; what it points to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, mem::size_of::<bpf_attr>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
