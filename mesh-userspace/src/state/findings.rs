//! What is wrong between objects, which no source can see by itself.

use super::ClusterState;
use crate::model::{Finding, Kind, Severity};

impl ClusterState {
    /// Everything that is wrong now: what the sources found in files, and what objects want of each other in vain.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.reported.values().flatten().cloned().collect();
        self.address_conflicts(&mut findings);
        self.external_findings(&mut findings);
        self.node_port_findings(&mut findings);
        self.policy_findings(&mut findings);
        self.region_findings(&mut findings);
        findings
    }

    fn address_conflicts(&self, findings: &mut Vec<Finding>) {
        for (ip, owner, losers) in self.addresses.contested() {
            for loser in losers {
                let Some(known) = self.entries.get(loser).and_then(|entry| entry.service.as_ref()) else { continue };
                let (latest, origin) = known.latest();
                // An address of its former form, which it does not want any more, is no loss.
                let Some(position) = latest.cluster_ips.iter().position(|&other| other == ip) else { continue };
                let until = if known.waiting.is_some() { "its former form goes on" } else { "it is not served there" };
                findings.push(Finding {
                    severity: Severity::Conflict,
                    origin: origin.clone(),
                    object: Some(loser.object()),
                    field: format!("spec.clusterIPs[{position}]").into(),
                    message: format!("{ip} is the address of Service {owner}, which had it first").into(),
                    action: format!("give one of the two another address; until then {until}").into(),
                });
            }
        }
    }

    fn policy_findings(&self, findings: &mut Vec<Finding>) {
        for (own, known) in &self.policies {
            let finding = |severity, field: String, message: String, action: &str| Finding {
                severity,
                origin: known.origin.clone(),
                object: Some(own.clone()),
                field: field.into(),
                message: message.into(),
                action: action.into(),
            };
            let field = |i: usize| match own.kind {
                Kind::TrafficPolicy => format!("spec.targetRefs[{i}]"),
                _ => "spec.host".to_owned(),
            };
            for (i, target) in known.object.targets.iter().enumerate() {
                let Some(entry) = self.entries.get(target) else { continue };
                if entry.service.is_none() {
                    findings.push(finding(
                        Severity::Unresolved,
                        field(i),
                        format!("there is no Service {target}"),
                        "create it or correct the name; the policy takes effect when it appears",
                    ));
                }
                if let Some(first) = entry.policy().filter(|&first| first != own) {
                    findings.push(finding(
                        Severity::Conflict,
                        field(i),
                        format!("{target} follows {first}, which was attached first"),
                        "attach one policy to each Service; this one takes over when the other goes",
                    ));
                }
            }
        }
    }
}
