//! Whose a filter is: the kernel keeps a name with each, and gives it out again.

use crate::datapath::{PACKET_HOOKS, PacketHook};
use std::fmt;
use std::path::{Path, PathBuf};

/// What the names of all our filters begin with.
const OURS: &str = "mesh:";
/// The same, where the qdisc is ours, too.
const OURS_WITH_QDISC: &str = "mesh+qdisc:";

/// The name of one of our filters, as `mesh:/sys/fs/bpf/mesh/v4:tc_to_pod`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// The layout of the pins whose maps its program uses.
    pub layout: PathBuf,
    /// Its program.
    pub hook: PacketHook,
    /// Whether an agent made the qdisc that it is on.
    pub with_qdisc: bool,
}

impl Name {
    /// A name, if it is one of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let with_qdisc = name.starts_with(OURS_WITH_QDISC);
        let rest = name.strip_prefix(OURS_WITH_QDISC).or_else(|| name.strip_prefix(OURS))?;
        let (layout, program) = rest.rsplit_once(':')?;
        let hook = PACKET_HOOKS.into_iter().find(|hook| hook.name == program)?;
        Some(Self { layout: layout.into(), hook, with_qdisc })
    }

    /// Whether it is this layout's, for this hook.
    pub fn is(&self, layout: &Path, hook: &PacketHook) -> bool {
        self.layout == layout && self.hook == *hook
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = if self.with_qdisc { OURS_WITH_QDISC } else { OURS };
        write!(formatter, "{ours}{}:{}", self.layout.display(), self.hook.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_the_filter_is() {
        for with_qdisc in [false, true] {
            for hook in PACKET_HOOKS {
                let name = Name { layout: "/sys/fs/bpf/a:b/v4".into(), hook, with_qdisc };
                assert_eq!(Name::parse(&name.to_string()), Some(name));
            }
        }
        for foreign in ["", "cil_to_container", "mesh", "mesh:", "mesh:/sys/fs/bpf/mesh/v4", "mesh:/p/v4:tc_recount"] {
            assert_eq!(Name::parse(foreign), None, "{foreign}");
        }
    }
}
