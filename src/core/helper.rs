//! Helper pods, told by their labels and their names. The namespace is the caller's to look at: in any other one these labels
//! are a tenant's to set.

use std::collections::BTreeMap;

/// Says that a pod is of ours.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const MANAGER: &str = "kubectl-sciuro";
/// Says of which remediation, by its id.
pub const REMEDIATION: &str = "sciuro.dev/remediation";

/// What a helper is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    Probe,
    /// Of this attempt.
    Reboot(u32),
    CollectBefore,
    CollectAfter,
}

impl Job {
    /// The name of the pod that does it for the remediation `id`.
    pub fn name(self, id: &str) -> String {
        let id = short(id);
        match self {
            Self::Probe => format!("sciuro-probe-{id}"),
            Self::Reboot(n) => format!("sciuro-reboot-{id}-{n}"),
            Self::CollectBefore => format!("sciuro-collect-{id}-before"),
            Self::CollectAfter => format!("sciuro-collect-{id}-after"),
        }
    }

    /// Where the name is taken.
    pub fn another_name(self, id: &str, random: &str) -> String {
        format!("{}-{random}", self.name(id))
    }

    /// What a pod of this name does for the remediation `id`.
    pub fn of(name: &str, id: &str) -> Option<Self> {
        let (job, rest) = name.strip_prefix("sciuro-")?.split_once('-')?;
        let mut rest = rest.strip_prefix(short(id))?.split('-');
        if !rest.next()?.is_empty() {
            return None;
        }
        let job = match job {
            "probe" => Self::Probe,
            "reboot" => Self::Reboot(rest.next()?.parse().ok()?),
            "collect" => match rest.next()? {
                "before" => Self::CollectBefore,
                "after" => Self::CollectAfter,
                _ => return None,
            },
            _ => return None,
        };
        // What another name ends with.
        let is_random = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (rest.next().is_none_or(is_random) && rest.next().is_none()).then_some(job)
    }
}

/// The id of the remediation that a pod is a helper of, if it is one.
pub fn remediation<'l>(name: &str, labels: &'l BTreeMap<String, String>) -> Option<&'l str> {
    let is_ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    let id = labels.get(REMEDIATION).filter(|_| is_ours)?;
    Job::of(name, id).map(|_| id.as_str())
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ID: &str = "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11";

    #[test]
    fn a_helper_is_told_by_its_name() {
        for job in [Job::Probe, Job::Reboot(1), Job::Reboot(42), Job::CollectBefore, Job::CollectAfter] {
            for name in [job.name(ID), job.another_name(ID, "0f3a9c1d")] {
                assert_eq!(Job::of(&name, ID), Some(job), "{name}");
            }
        }
        for name in [
            "coredns",
            "sciuro-probe",
            "sciuro-probe-",
            "sciuro-probe-ffffffff",
            "sciuro-probe-0b5e3f5a7",
            "sciuro-probe-0b5e3f5a-",
            "sciuro-probe-0b5e3f5a-web",
            "sciuro-probe-0b5e3f5a-0f-0f",
            "sciuro-reboot-0b5e3f5a",
            "sciuro-reboot-0b5e3f5a-x",
            "sciuro-collect-0b5e3f5a-between",
            "sciuro-mine-0b5e3f5a",
        ] {
            assert_eq!(Job::of(name, ID), None, "{name}");
        }
    }

    #[test]
    fn c1_labels_alone_make_no_helper() {
        let labels = |manager: &str, id: &str| {
            BTreeMap::from(
                [(MANAGED_BY, manager), (REMEDIATION, id)].map(|(name, value)| (name.into(), value.into())),
            )
        };
        assert_eq!(remediation("sciuro-reboot-0b5e3f5a-1", &labels(MANAGER, ID)), Some(ID));
        assert_eq!(remediation("web-0", &labels(MANAGER, ID)), None);
        assert_eq!(remediation("sciuro-reboot-0b5e3f5a-1", &labels("Helm", ID)), None);
        assert_eq!(remediation("sciuro-reboot-0b5e3f5a-1", &labels(MANAGER, "ffffffff")), None);
        assert_eq!(remediation("sciuro-reboot-0b5e3f5a-1", &BTreeMap::new()), None);
    }
}
