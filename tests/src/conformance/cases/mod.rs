//! The table of cases, by theme.

mod affinity;
mod balancers;
mod cluster;
mod datagrams;
mod endpoints;
mod frontends;
mod sockets;

use super::Case;

/// Every case, by its semantic's number.
pub fn all() -> Vec<Case> {
    let themes = [
        endpoints::cases(),
        frontends::cases(),
        balancers::cases(),
        affinity::cases(),
        sockets::cases(),
        datagrams::cases(),
        cluster::cases(),
    ];
    let mut all: Vec<_> = themes.into_iter().flatten().collect();
    all.sort_by_key(|case| case.number);
    all
}
