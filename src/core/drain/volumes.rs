//! Which volumes of a node are to be detached before its machine goes down.

use std::collections::{BTreeMap, BTreeSet};

/// A volume at a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    pub name: String,
    pub node: String,
    /// The `PersistentVolume`, unless it stands in a pod itself.
    pub volume: Option<String>,
    /// What the driver said when it was to detach it.
    pub detach_error: Option<String>,
}

impl Attachment {
    /// With what is known of it, for a person.
    pub fn shown(&self) -> String {
        let volume = self.volume.as_ref().map_or(String::new(), |volume| format!(" (PV {volume})"));
        let error = self.detach_error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        format!("{}{volume}{error}", self.name)
    }
}

/// What pods use: each `PersistentVolume` with one of the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    pub volumes: BTreeMap<String, String>,
    /// Claims of which the volume is not known.
    pub unread: usize,
}

/// The attachments of a node, by what is to become of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Standing<'a> {
    /// In use by a pod that stays, which is named: nothing detaches them.
    pub kept: Vec<(&'a Attachment, &'a str)>,
    /// Of pods that have left: they are detached in a moment.
    pub left: Vec<&'a Attachment>,
    /// Used by no pod since the drain began: perhaps nothing detaches them, ever.
    pub strangers: Vec<&'a Attachment>,
    /// So many of those that are not known to be kept may be kept nevertheless.
    pub unknown: usize,
}

impl Standing<'_> {
    /// Nothing more will be detached.
    pub fn is_done(&self) -> bool {
        self.left.len() + self.strangers.len() <= self.unknown
    }

    /// Nothing more of a pod that has left.
    pub fn has_strangers_alone(&self) -> bool {
        self.left.len() <= self.unknown
    }
}

/// `now`: what the pods that are there use; `ever`: what those use or used that were there since the drain began.
pub fn standing<'a>(
    attachments: impl IntoIterator<Item = &'a Attachment>,
    now: &'a Uses,
    ever: &Uses,
) -> Standing<'a> {
    let mut standing = Standing { unknown: now.unread, ..Standing::default() };
    let known: BTreeSet<&String> = ever.volumes.keys().collect();
    for attachment in attachments {
        let user = attachment.volume.as_ref().and_then(|volume| now.volumes.get(volume));
        // Of a volume that stands in a pod itself, and of a claim that cannot be read, it is not known.
        let may_be_known =
            ever.unread > 0 || attachment.volume.as_ref().is_none_or(|volume| known.contains(volume));
        match user {
            Some(pod) => standing.kept.push((attachment, pod)),
            None if may_be_known => standing.left.push(attachment),
            None => standing.strangers.push(attachment),
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(volume: &str) -> Attachment {
        Attachment { name: format!("csi-{volume}"), volume: Some(volume.into()), ..Attachment::default() }
    }

    fn uses(volumes: &[(&str, &str)], unread: usize) -> Uses {
        let volumes = volumes.iter().map(|(volume, pod)| ((*volume).into(), (*pod).into())).collect();
        Uses { volumes, unread }
    }

    #[test]
    fn f9_d2_d3_what_nobody_detaches_is_told_from_what_is_awaited() {
        let all = ["stays", "left", "stranger"].map(attachment);
        let now = uses(&[("stays", "ns/agent")], 0);
        let ever = uses(&[("stays", "ns/agent"), ("left", "ns/db-0")], 0);
        let found = standing(&all, &now, &ever);
        assert_eq!(found.kept, [(&all[0], "ns/agent")]);
        assert_eq!((found.left.clone(), found.strangers.clone()), (vec![&all[1]], vec![&all[2]]));
        assert!(!found.is_done() && !found.has_strangers_alone());

        let found = standing(&all[2..], &now, &ever);
        assert!(!found.is_done() && found.has_strangers_alone());
        assert!(standing(&all[..1], &now, &ever).is_done());
        assert!(standing([], &now, &ever).is_done());

        let returned = uses(&[("stays", "ns/agent"), ("left", "ns/db-0")], 0);
        assert!(standing(&all[..2], &returned, &ever).is_done(), "its pod has come back");
    }

    #[test]
    fn f9_d3_what_is_not_known_is_awaited() {
        let all = ["a", "b"].map(attachment);
        let (none, unread) = (uses(&[], 0), uses(&[], 1));
        let found = standing(&all, &none, &unread);
        assert_eq!((found.left.len(), found.strangers.len()), (2, 0), "one of the claims cannot be read");
        assert!(!standing(&all, &unread, &unread).is_done());
        assert!(standing(&all[..1], &unread, &unread).is_done(), "as many as claims are not known");
        let inline = [Attachment { name: "csi-x".into(), ..Attachment::default() }];
        assert_eq!(standing(&inline, &none, &none).left.len(), 1);
    }

    #[test]
    fn a_person_is_told_what_the_driver_says() {
        let stuck = Attachment { detach_error: Some("rpc error: timed out".into()), ..attachment("a") };
        assert_eq!(stuck.shown(), "csi-a (PV a): rpc error: timed out");
    }
}
