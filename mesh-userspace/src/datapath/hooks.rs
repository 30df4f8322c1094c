//! Every hook: the program, and where it attaches. To add one: its file in `mesh-ebpf/src/programs`, its row here.

use aya_obj::generated::bpf_attach_type::{
    self, BPF_CGROUP_INET_SOCK_RELEASE, BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET4_GETPEERNAME,
    BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_INET6_GETPEERNAME, BPF_CGROUP_SOCK_OPS, BPF_CGROUP_UDP4_RECVMSG,
    BPF_CGROUP_UDP4_SENDMSG, BPF_CGROUP_UDP6_RECVMSG, BPF_CGROUP_UDP6_SENDMSG, BPF_TCX_EGRESS, BPF_TCX_INGRESS,
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

/// A program at the node's end of a pod's interface; attached to the interfaces of pods that need it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PacketHook {
    /// The program's name in the object, and the beginning of its pins' names.
    pub name: &'static str,
    /// The kernel's attach type.
    pub attach_type: bpf_attach_type,
}

impl PacketHook {
    /// The name of its pin for an interface.
    pub fn pin(&self, interface: u32) -> String {
        format!("{}-{interface}", self.name)
    }

    /// The interface of one of its pins.
    pub fn interface(&self, pin: &str) -> Option<u32> {
        pin.strip_prefix(self.name)?.strip_prefix('-')?.parse().ok()
    }
}

/// The program that the agent asks about connections; attached nowhere.
pub const RECOUNT: &str = "tc_recount";

/// Both of them: what gives slots back first.
pub const PACKET_HOOKS: [PacketHook; 2] = [
    PacketHook { name: "tc_from_pod", attach_type: BPF_TCX_INGRESS },
    PacketHook { name: "tc_to_pod", attach_type: BPF_TCX_EGRESS },
];
