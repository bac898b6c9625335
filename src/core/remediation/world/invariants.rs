//! What no action may break, judged by what the world knows and the process does not.

use super::*;

impl World {
    pub(in crate::core::remediation) fn judge(&mut self, who: usize, seen: &Seen, action: &Action) {
        let process = &self.processes[who];
        let record = process.machine.record();
        let view = if let NodeSeen::Here(view) = &seen.node { Some(view) } else { None };
        if !matches!(action, Action::End(_)) {
            let same = view.is_none_or(|view| view.uid == record.node_uid);
            assert!(same, "LAW nothing is done to a node of another UID: {action:?}");
        }
        match action {
            Action::Work(work) if seen.work != WorkSeen::Underway(*work) => {
                let stored = self.stored.contains(record);
                if *work == Work::Issue {
                    self.judge_issue(process, view.map(Box::as_ref));
                }
                assert!(stored, "LAW write, then act: {work:?}");
                assert!(seen.lease == LeaseSeen::Held && view.is_some(), "LAW nothing begins blindly");
            }
            Action::Write(write) => {
                let process = &mut self.processes[who];
                if let RecordWrite::Put(record) = &write.record {
                    process.has_asked_to_abort |= record.state == State::Aborted;
                }
                if write.unschedulable == Some(false) {
                    let keep = process.options.keep_cordon || process.cannot_recall;
                    assert!(!keep, "LAW the cordon stays if it has to");
                }
            }
            _ => {}
        }
    }

    /// By what the API server has stored, whatever the machine takes for stored or intended.
    fn judge_issue(&self, process: &Process, view: Option<&NodeView>) {
        let record = process.machine.record();
        let is_intent = |stored: &Record| {
            stored.state == State::RebootIntent
                && (&stored.id, &stored.holder) == (&record.id, &record.holder)
                && stored.pre_boot_id == record.pre_boot_id
                && stored.attempts.last().is_some_and(|attempt| record.attempts.last() == Some(attempt))
        };
        assert!(self.stored.iter().any(is_intent), "LAW no issue without a recorded intent");
        assert!(process.admitted, "LAW no issue of an intent that another process was admitted with");
        if process.deluded {
            return; // what has happened while it was paused it cannot know; the reboots of its attempt are counted all the same
        }
        let asked = view.is_some_and(|view| view.abort.as_ref() == Some(&record.id));
        let aborted = self.aborted || asked || process.has_asked_to_abort;
        assert!(!aborted || self.forged, "LAW no issue after an abort");
        assert!(view.is_some_and(|view| view.unschedulable), "LAW no issue on an uncordoned node");
    }
}
