//! Every hook: the program, and where it attaches. To add one: its file in `mesh-ebpf/src/programs`, its row here.

use aya_obj::generated::bpf_attach_type::{
    self, BPF_CGROUP_INET_SOCK_RELEASE, BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET4_GETPEERNAME,
    BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_INET6_GETPEERNAME, BPF_CGROUP_SOCK_OPS, BPF_CGROUP_UDP4_RECVMSG,
    BPF_CGROUP_UDP4_SENDMSG, BPF_CGROUP_UDP6_RECVMSG, BPF_CGROUP_UDP6_SENDMSG,
};

/// What a hook is for, which is the order in which hooks are attached and the reverse of that in which they go: what
/// gives back is in force before what takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Gives slots back and shows frontends; goes on for as long as connections are open.
    Accompany,
    /// Sends new connections and datagrams to backends.
    Direct,
}

/// A program at a cgroup hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hook {
    /// The program's name in the object, and its pin's name.
    pub name: &'static str,
    /// The kernel's attach type. A link's update checks only the program's type, so pins are named by hook and this is
    /// compared.
    pub attach_type: bpf_attach_type,
    /// Whether it takes or gives back.
    pub role: Role,
}

const fn hook(name: &'static str, attach_type: bpf_attach_type, role: Role) -> Hook {
    Hook { name, attach_type, role }
}

/// Every hook, in the order of attachment.
pub const HOOKS: [Hook; 10] = [
    hook("sock_release", BPF_CGROUP_INET_SOCK_RELEASE, Role::Accompany),
    hook("sock_ops", BPF_CGROUP_SOCK_OPS, Role::Accompany),
    hook("getpeername4", BPF_CGROUP_INET4_GETPEERNAME, Role::Accompany),
    hook("getpeername6", BPF_CGROUP_INET6_GETPEERNAME, Role::Accompany),
    hook("recvmsg4", BPF_CGROUP_UDP4_RECVMSG, Role::Accompany),
    hook("recvmsg6", BPF_CGROUP_UDP6_RECVMSG, Role::Accompany),
    hook("sendmsg4", BPF_CGROUP_UDP4_SENDMSG, Role::Direct),
    hook("sendmsg6", BPF_CGROUP_UDP6_SENDMSG, Role::Direct),
    hook("connect4", BPF_CGROUP_INET4_CONNECT, Role::Direct),
    hook("connect6", BPF_CGROUP_INET6_CONNECT, Role::Direct),
];
