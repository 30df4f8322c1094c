//! What happens in the lab, one act after the other.

mod canary;
mod change;
mod ejection;
mod limit;
mod orphan;
mod policy;
mod spread;
mod surge;

use crate::lab::Lab;
use anyhow::Result;

/// All acts.
pub fn play(lab: &mut Lab) -> Result<()> {
    spread::play(lab)?;
    change::play(lab)?;
    limit::play(lab)?;
    canary::play(lab)?;
    surge::play(lab)?;
    ejection::play(lab)?;
    orphan::play(lab)
}
