//! The last look at the Node before its machine is told to reboot: a watch may lag behind what others have written.

use super::record::Record;
use super::seen::{Failure, FailureKind, NodeView, RecordSeen};

/// Why the order of `record` is not sent to a node that is so.
pub fn last_look(record: &Record, node: &NodeView) -> Result<(), Failure> {
    let not = |kind, why: &str| Err(Failure { kind, why: why.to_owned() });
    if node.abort.as_ref() == Some(&record.id) {
        return not(FailureKind::Aborted, "asked for with --abort");
    }
    if node.boot_id != record.pre_boot_id && node.uid == record.node_uid {
        return not(FailureKind::OtherBoot, "the node has rebooted already");
    }
    let is_as_recorded = matches!(&node.record, RecordSeen::Readable(stored) if **stored == *record);
    if !is_as_recorded || !node.unschedulable {
        return not(FailureKind::Failed, "the node was changed by somebody else right before the reboot");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{boot_id, record};
    use super::*;

    #[test]
    fn only_a_node_as_it_is_recorded_is_told_to_reboot() {
        type Change = fn(&mut NodeView);
        let record = record();
        let cases: [(Change, Result<(), FailureKind>); 8] = [
            (|_| (), Ok(())),
            (|node| node.abort = Some("another run's".to_owned()), Ok(())),
            (|node| node.abort = Some(super::super::tests::record().id), Err(FailureKind::Aborted)),
            (|node| node.boot_id = boot_id(1), Err(FailureKind::OtherBoot)),
            (|node| node.unschedulable = false, Err(FailureKind::Failed)),
            (|node| node.record = RecordSeen::None, Err(FailureKind::Failed)),
            (|node| *node = NodeView::default(), Err(FailureKind::Failed)),
            (
                |node| {
                    if let RecordSeen::Readable(record) = &mut node.record {
                        record.holder = "b@h#2".to_owned();
                    }
                },
                Err(FailureKind::Failed),
            ),
        ];
        for (place, (change, expected)) in cases.into_iter().enumerate() {
            let mut node = NodeView {
                uid: record.node_uid.clone(),
                boot_id: record.pre_boot_id.clone(),
                unschedulable: true,
                record: RecordSeen::Readable(Box::new(record.clone())),
                ..NodeView::default()
            };
            change(&mut node);
            assert_eq!(last_look(&record, &node).map_err(|failure| failure.kind), expected, "case {place}");
        }
    }
}
