//! mesh as its DaemonSet on a real cluster: installed, upgraded and removed under load, with exactly the chart's rights.

mod kernel;
mod lives;
mod load;
mod report;
mod rights;
mod stage;
