//! Where backends are, and what a policy makes of it.

use super::Facts;
use super::backends::Judged;
use crate::api::types::{BackendState, Explanation};
use crate::maps::Maps;
use crate::model::{Balance, Which};
use crate::plan::balance::parts;
use crate::plan::locality::Step;

impl<M: Maps> Facts<'_, M> {
    /// Says in which region each backend is, and which places take what.
    pub(super) fn note_places(
        &self,
        balance: Option<&Balance>,
        backends: &[Judged<'_>],
        explanation: &mut Explanation,
    ) {
        for (backend, candidate) in backends.iter().zip(&mut explanation.backends) {
            let place = backend.endpoint.map(|endpoint| self.state.place(endpoint));
            place.unwrap_or_default().region.clone_into(&mut candidate.region);
        }
        let Some(balance) = balance else { return };
        let here = self.state.here();
        let at = |state| backends.iter().filter(move |backend| backend.state == state);
        // Where all are ejected, that is ignored.
        let all_out = at(BackendState::Eligible).next().is_none();
        let taking = at(if all_out { BackendState::Ejected } else { BackendState::Eligible });
        let places: Vec<_> = taking.filter_map(|backend| Some(self.state.place(backend.endpoint?))).collect();
        let out = if all_out { 0 } else { at(BackendState::Ejected).count() };
        let out = if out == 0 { String::new() } else { format!("; {out} nearer or as near are ejected") };
        let nearest = places.iter().map(|place| Step::of(balance, *place, here)).min();
        if let Some(nearest) = nearest.filter(|_| !balance.prefer.is_empty()) {
            let order: Vec<_> = balance.prefer.iter().map(|preference| preference.level.name()).collect();
            explanation.notes.push(format!(
                "the nearest come first (by {}): of {} endpoints {} take connections, {}{out}",
                order.join(", "),
                backends.len(),
                places.len(),
                nearest.sentence(balance, here)
            ));
        }
        if balance.split.iter().any(|part| matches!(part.which, Which::At(_)) || !part.from.is_everywhere()) {
            let shares = parts(balance, here).into_iter().map(|part| {
                let to = match &part.which {
                    Which::At(place) => place.written(),
                    Which::PodNamePrefix(prefix) => format!("pods {prefix}*"),
                    Which::NodeName(node) => format!("node {node}"),
                    Which::Any => "*".to_owned(),
                };
                format!("{}% to {to}", part.percent)
            });
            let shares: Vec<_> = shares.collect();
            explanation.notes.push(match shares.as_slice() {
                [] => "shared out by place, but no entry is for this node's: all are alike".to_owned(),
                shares => format!("shared out by place: {}", shares.join(", ")),
            });
        }
    }
}
