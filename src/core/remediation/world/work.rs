//! The work that a process has in hand: an order is sent, and everything ends as the world has it or as it fails.

use super::*;

impl World {
    /// The Node is read once more: what is on it by now comes before the order. Who was paused had read it before that.
    pub(super) fn send(&mut self, who: usize) {
        let process = &self.processes[who];
        let record = process.machine.record();
        let Some(attempt) = record.attempts.last() else { return };
        let looked_at = if process.deluded { &process.view.0 } else { &self.node };
        if let Err(failure) = last_look(record, &looked_at.clone().unwrap_or_default()) {
            self.processes[who].work = WorkSeen::Failed(Work::Issue, failure);
            return;
        }
        let guard = attempt
            .method
            .is_guarded()
            .then(|| (record.pre_boot_id.clone(), attempt.not_after_uptime.unwrap_or(u64::MAX)));
        self.orders.push(Order { n: attempt.n, guard, arrived: None });
        self.processes[who].order = self.orders.len() - 1;
    }

    /// The work in hand comes to its end, if it can.
    pub(in crate::core::remediation) fn end_work(&mut self, who: usize, ending: Ending) {
        let WorkSeen::Underway(work) = self.processes[who].work else { return };
        let ended = match ending {
            Ending::Fails(kind) => Err(kind),
            Ending::True => match self.outcome(who, work) {
                Some(outcome) => outcome,
                None => return,
            },
        };
        let process = &mut self.processes[who];
        process.cannot_recall |= ended == Ok(Product::Recalled(Recall::CannotBe));
        process.admitted |= matches!(ended, Ok(Product::Admitted { .. }));
        process.work = match ended {
            Ok(product) => WorkSeen::Done(work, product),
            Err(kind) => WorkSeen::Failed(work, Failure { kind, why: format!("{work:?}: {kind:?}") }),
        };
    }

    fn outcome(&mut self, who: usize, work: Work) -> Option<Result<Product, FailureKind>> {
        let process = &self.processes[who];
        let (record, order) = (process.machine.record().clone(), process.order);
        let seen_boot = self.node.as_ref().map(|node| node.boot_id.clone()).unwrap_or_default();
        let has_rebooted = seen_boot != record.pre_boot_id;
        Some(Ok(match work {
            Work::Collect => Product::Bundle(Some("a.tar.gz".to_owned())),
            Work::Drain | Work::Verify | Work::Accept | Work::CleanUp => Product::Done,
            Work::Admit if !record.method.is_guarded() => Product::Admitted { uptime: None },
            Work::Admit if boot_id(self.boot) != record.pre_boot_id => return Some(Err(FailureKind::Failed)),
            Work::Admit => Product::Admitted { uptime: Some(self.uptime) },
            Work::Issue => {
                self.arrive(order);
                match self.orders[order].arrived? {
                    Guard::Passed => Product::Issued,
                    Guard::OtherBoot => return Some(Err(FailureKind::OtherBoot)),
                    Guard::TooLate => return Some(Err(FailureKind::Failed)),
                }
            }
            Work::AwaitBoot if has_rebooted => Product::Proven { boot_id: seen_boot },
            Work::Recall if has_rebooted => Product::Recalled(Recall::Rebooted),
            Work::Recall => match record.attempts.last() {
                Some(last) if !last.method.is_guarded() => Product::Recalled(Recall::CannotBe),
                // Three seconds pass between the guard and the reboot.
                Some(last) if last.not_after_uptime? + 3 < self.uptime && self.going_down.is_none() => {
                    Product::Recalled(Recall::Spent)
                }
                _ => return None,
            },
            Work::AwaitBoot => return None,
        }))
    }
}
