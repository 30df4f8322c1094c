//! One copy of each name that many objects share.

use std::collections::HashSet;
use std::sync::Arc;

/// Names by their text. A hundred thousand endpoints on five nodes hold five node names.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashSet<Arc<str>>,
    /// Size at which names that nothing uses any more are dropped.
    sweep_at: usize,
}

impl Names {
    /// The shared copy of `name`.
    pub(super) fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at.max(1024) {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = self.known.len() * 2;
        }
        let name: Arc<str> = name.into();
        self.known.insert(name.clone());
        name
    }

    /// The shared copy of a name that may be absent; absent is empty.
    pub(super) fn share_option(&mut self, name: Option<&str>) -> Arc<str> {
        self.share(name.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_dropped_when_unused() {
        let mut names = Names::default();
        let kept = names.share("node-1");
        assert!(Arc::ptr_eq(&kept, &names.share("node-1")));
        for number in 0..5000 {
            names.share(&format!("pod-{number}"));
        }
        assert!(names.known.len() <= 1025, "unused names are swept: {}", names.known.len());
        assert!(Arc::ptr_eq(&kept, &names.share("node-1")));
    }
}
