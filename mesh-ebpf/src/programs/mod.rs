//! The entry points, one file a hook. To add one: its file here, and its row in the agent's `datapath/hooks.rs`.

mod connect;
mod getpeername;
mod recvmsg;
mod sendmsg;
mod sock_ops;
mod sock_release;
mod tc_from_pod;
mod tc_recount;
mod tc_to_pod;
