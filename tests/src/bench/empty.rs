//! A program that does nothing, at the connect hook: what the statistics show of it is their own cost.

#![expect(unsafe_code, reason = "a system call that nobody wraps without an object file")]

use anyhow::{Context, Result};
use aya_obj::generated::bpf_attach_type::BPF_CGROUP_INET4_CONNECT;
use aya_obj::generated::bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
use aya_obj::generated::{bpf_attr, bpf_cmd};
use mesh_userspace::bpf;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::Path;

/// `r0 = 1; exit`: let the connect pass.
const INSTRUCTIONS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The program, attached as long as this lives.
#[derive(Debug)]
pub struct Empty {
    link: OwnedFd,
}

impl Empty {
    /// Loads it and attaches it to a cgroup, beside what is there.
    pub fn attach(cgroup: &Path) -> Result<Self> {
        let program = load().context("load a program that does nothing")?;
        let cgroup = File::open(cgroup).with_context(|| format!("open {}", cgroup.display()))?;
        let link = bpf::create_link(program.as_fd(), cgroup.as_fd(), BPF_CGROUP_INET4_CONNECT as u32);
        Ok(Self { link: link.context("attach a program that does nothing")? })
    }

    /// The program's id.
    pub fn id(&self) -> Result<u32> {
        Ok(bpf::link_info(self.link.as_fd()).context("inspect the link")?.prog_id)
    }
}

fn load() -> io::Result<OwnedFd> {
    // SAFETY: all-zero bytes are a valid bpf_attr: a union of plain integers.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.__bindgen_anon_3.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR as u32;
    attr.__bindgen_anon_3.expected_attach_type = BPF_CGROUP_INET4_CONNECT as u32;
    attr.__bindgen_anon_3.insn_cnt = INSTRUCTIONS.len() as u32;
    attr.__bindgen_anon_3.insns = INSTRUCTIONS.as_ptr() as u64;
    attr.__bindgen_anon_3.license = c"GPL".as_ptr() as u64;
    let command = bpf_cmd::BPF_PROG_LOAD;
    // SAFETY: `attr` is a whole, initialised bpf_attr; what it points to is constant.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, mem::size_of::<bpf_attr>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
