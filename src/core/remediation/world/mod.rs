//! A small world for the laws of the machine: one API server, one machine with a guard and a kubelet, one Lease, and
//! processes that come and go. It plays by the rules that `Machine::next` names, and by no others; it judges each action.

mod invariants;
mod work;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::tests::{boot_id, record};
use super::*;

/// How a write ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Answered,
    /// Stored, and the writer does not learn of it.
    Unanswered,
    /// Nobody knows; it comes later, or not at all.
    Late,
    /// The API server stays with its no.
    Refused,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// As the world has it; some work goes on until then.
    True,
    Fails(FailureKind),
}

/// An order on its way to the machine.
#[derive(Debug)]
struct Order {
    n: u32,
    /// Boot id and uptime, for guarded methods.
    guard: Option<(String, u64)>,
    arrived: Option<Guard>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Guard {
    Passed,
    OtherBoot,
    TooLate,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Process {
    pub(super) machine: Machine,
    options: Options,
    /// What it knows of the Node, and the resourceVersion of that.
    view: (Option<NodeView>, u64),
    pub(super) blind: bool,
    pub(super) unsure: bool,
    /// Another has had the Lease since.
    lost: bool,
    /// It is paused between its look and its act: to itself it has the Lease, until its clock or an answer tells.
    deluded: bool,
    work: WorkSeen,
    order: usize,
    pub(super) interrupted: bool,
    pub(super) end: Option<End>,
    /// The person, the gates and the machine were asked, and said yes.
    admitted: bool,
    has_asked_to_abort: bool,
    cannot_recall: bool,
}

#[derive(Debug)]
pub(super) struct World {
    now: Timestamp,
    /// The Node as it is stored.
    pub(super) node: Option<NodeView>,
    version: u64,
    pub(super) foreign_cordon: bool,
    boot: u64,
    uptime: u64,
    /// The guard let this attempt pass: the machine goes down in a moment.
    going_down: Option<u32>,
    orders: Vec<Order>,
    writes: Vec<(u64, Write)>,
    lease: Option<usize>,
    pub(super) processes: Vec<Process>,
    /// Every record that was on the Node.
    stored: Vec<Record>,
    /// One of ours in `Aborted` was.
    aborted: bool,
    pub(super) forged: bool,
    /// Of each attempt.
    pub(super) reboots: BTreeMap<u32, u32>,
}

impl Process {
    /// Its record is the Node's, as far as it knows.
    pub(super) fn is_stored(&self) -> bool {
        let stored = self.view.0.as_ref().map(|view| &view.record);
        matches!(stored, Some(RecordSeen::Readable(record)) if **record == *self.machine.record())
    }
}

impl World {
    pub(super) fn has_sent(&self, who: usize) -> bool {
        self.processes[who].work == WorkSeen::Underway(Work::Issue)
    }

    pub(super) fn new(method: Method, cordoned: bool, options: Options) -> Self {
        let record = Record { method, ..record() };
        let node = NodeView {
            uid: record.node_uid.clone(),
            boot_id: boot_id(0),
            unschedulable: cordoned,
            ..NodeView::default()
        };
        let mut world = Self {
            now: Timestamp::UNIX_EPOCH,
            node: Some(node),
            version: 0,
            foreign_cordon: cordoned,
            boot: 0,
            uptime: 1000,
            going_down: None,
            orders: vec![],
            writes: vec![],
            lease: None,
            processes: vec![],
            stored: vec![],
            aborted: false,
            forged: false,
            reboots: BTreeMap::new(),
        };
        world.begin(Machine::start(record, options.clone()), options);
        world
    }

    /// A process that has the Lease.
    fn begin(&mut self, machine: Machine, options: Options) {
        self.processes.iter_mut().for_each(|process| process.lost = true);
        self.lease = Some(self.processes.len());
        self.processes.push(Process {
            machine,
            options,
            view: (self.node.clone(), self.version),
            blind: false,
            unsure: false,
            lost: false,
            deluded: false,
            work: WorkSeen::Idle,
            order: 0,
            interrupted: false,
            end: None,
            admitted: false,
            has_asked_to_abort: false,
            cannot_recall: false,
        });
    }

    /// Another process, if the Lease is free and there is something to go on with.
    pub(super) fn another(&mut self, abort: bool, mut resume: Resume) {
        let Some(view) = self.node.clone() else { return };
        let RecordSeen::Readable(record) = &view.record else { return };
        if self.lease.is_some() {
            return;
        }
        let record = (**record).clone();
        let (holder, options) = (format!("b@h#{}", self.processes.len()), resume.options.clone());
        resume.holder.clone_from(&holder);
        if abort {
            self.begin(Machine::abort(record, &holder, "b@h", options.clone()), options);
        } else if let Ok(machine) = Machine::resume(record, &view, resume) {
            self.begin(machine, options);
        }
    }

    pub(super) fn living(&self) -> Vec<usize> {
        (0..self.processes.len()).filter(|who| self.processes[*who].end.is_none()).collect()
    }

    /// Time during which nobody can renew the Lease.
    pub(super) fn expire_lease(&mut self) {
        self.lease = None;
    }

    /// A process is paused between its look and its act, for longer than its Lease lasts; another goes on meanwhile.
    pub(super) fn overtake(&mut self, who: usize, abort: bool, resume: Resume) {
        self.processes[who].deluded = true;
        self.expire_lease();
        self.another(abort, resume);
    }

    /// No time is too short for this.
    pub(super) fn crash(&mut self, who: usize) {
        self.processes[who].end = Some(End::Interrupted { during: None });
        self.release(who);
    }

    fn release(&mut self, who: usize) {
        if self.lease == Some(who) {
            self.lease = None;
        }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now += std::time::Duration::from_secs(seconds);
        self.uptime += seconds;
    }

    /// The Node is changed by somebody else.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut NodeView)) {
        if let Some(node) = &mut self.node {
            change(node);
            self.version += 1;
            if let RecordSeen::Readable(record) = &node.record {
                self.stored.push((**record).clone());
            }
        }
    }

    pub(super) fn reboot(&mut self) {
        (self.boot, self.uptime, self.going_down) = (self.boot + 1, 0, None);
    }

    fn reboot_by(&mut self, n: u32) {
        self.reboot();
        let reboots = self.reboots.entry(n).or_default();
        *reboots += 1;
        assert!(*reboots <= 1 || self.forged, "LAW at most one reboot by us per attempt: {n}");
    }

    pub(super) fn go_down(&mut self) {
        if let Some(n) = self.going_down.take() {
            self.reboot_by(n);
        }
    }

    /// The kubelet reports.
    pub(super) fn report(&mut self) {
        let boot_id = boot_id(self.boot);
        if self.node.as_ref().is_some_and(|node| node.boot_id != boot_id) {
            self.change(|node| node.boot_id = boot_id);
        }
    }

    pub(super) fn arrive(&mut self, order: usize) {
        let Some(Order { n, guard, arrived: None }) = self.orders.get(order) else { return };
        let (n, verdict) = match guard {
            Some((boot, _)) if *boot != boot_id(self.boot) => (*n, Guard::OtherBoot),
            Some((_, limit)) if self.uptime > *limit => (*n, Guard::TooLate),
            _ => (*n, Guard::Passed),
        };
        let is_guarded = guard.is_some();
        self.orders[order].arrived = Some(verdict);
        match verdict {
            Guard::Passed if is_guarded => self.going_down = self.going_down.or(Some(n)),
            Guard::Passed => self.reboot_by(n),
            _ => {}
        }
    }

    pub(super) fn late_write_arrives(&mut self, which: usize) {
        if which < self.writes.len() {
            let (version, write) = self.writes.swap_remove(which);
            self.store(version, &write);
        }
    }

    /// Compare and swap.
    fn store(&mut self, version: u64, write: &Write) -> bool {
        let Some(node) = self.node.as_mut().filter(|_| version == self.version) else { return false };
        let first = node.record == RecordSeen::None;
        match write.unschedulable {
            Some(true) => {
                assert!(first, "LAW the node is cordoned once");
                (node.unschedulable, node.cordon_is_ours, self.foreign_cordon) = (true, true, false);
            }
            Some(false) => {
                assert!(!self.foreign_cordon, "LAW a foreign cordon is never lifted");
                assert!(!node.keep_cordoned && node.claims.is_empty(), "LAW it stays if somebody wants it");
                (node.unschedulable, node.cordon_is_ours) = (false, false);
            }
            None => {}
        }
        let (record, abort) = match &write.record {
            RecordWrite::Put(record) => {
                self.aborted |= record.state == State::Aborted;
                self.stored.push((**record).clone());
                (RecordSeen::Readable(record.clone()), node.abort.take())
            }
            RecordWrite::Finish(_) => (RecordSeen::None, None),
        };
        (node.record, node.abort) = (record, abort);
        self.version += 1;
        true
    }

    /// One look of one process, and what comes of it.
    pub(super) fn turn(&mut self, who: usize, fresh: bool, fate: Fate) {
        self.processes[who].deluded &= !fresh;
        let lease = match self.lease {
            _ if self.processes[who].deluded => LeaseSeen::Held,
            _ if self.processes[who].lost && !self.processes[who].unsure => LeaseSeen::Lost("b@h".to_owned()),
            Some(holder) if holder == who && !self.processes[who].unsure => LeaseSeen::Held,
            _ => LeaseSeen::Unsure,
        };
        let process = &mut self.processes[who];
        if fresh && !process.blind {
            process.view = (self.node.clone(), self.version);
        }
        let node = match &process.view.0 {
            _ if process.blind => NodeSeen::Unknown,
            Some(view) => NodeSeen::Here(Box::new(view.clone())),
            None => NodeSeen::Gone,
        };
        let seen = Seen { node, lease, work: process.work.clone(), interrupted: process.interrupted };
        let action = process.machine.next(&seen, self.now);
        self.judge(who, &seen, &action);
        let process = &mut self.processes[who];
        let underway = matches!(process.work, WorkSeen::Underway(_));
        match action {
            Action::Work(work) => {
                if process.work != WorkSeen::Underway(work) {
                    process.work = WorkSeen::Underway(work);
                    if work == Work::Issue {
                        self.send(who);
                    }
                }
                return;
            }
            Action::Write(write) => {
                let version = process.view.1;
                match fate {
                    Fate::Late => self.writes.push((version, *write)),
                    Fate::Refused => process.machine.refused(&write, "no", self.now),
                    Fate::Unanswered => drop(self.store(version, &write)),
                    Fate::Answered => {
                        self.store(version, &write);
                        // In conflict it is shown what there is.
                        let process = &mut self.processes[who];
                        (process.view, process.deluded) = ((self.node.clone(), self.version), false);
                    }
                }
            }
            Action::Wait => {}
            Action::End(end) => {
                process.end = Some(end);
                self.release(who);
            }
        }
        if underway {
            self.processes[who].work = WorkSeen::Idle;
        }
    }

    /// A turn in which nothing goes wrong.
    pub(super) fn good_turn(&mut self, who: usize, ending: Option<Ending>) {
        if self.orders.iter().all(|order| order.arrived.is_some()) {
            self.go_down();
        }
        self.report();
        if let Some(ending) = ending {
            self.end_work(who, ending);
        }
        self.turn(who, true, Fate::Answered);
    }

    /// From now on nothing goes wrong but work that never ends (`stuck`): everybody comes to an end.
    pub(super) fn calm_down(&mut self, stuck: bool) {
        for order in 0..self.orders.len() {
            self.arrive(order);
            self.go_down();
        }
        while !self.writes.is_empty() {
            self.late_write_arrives(0);
        }
        for who in self.living() {
            let process = &mut self.processes[who];
            (process.blind, process.unsure) = (false, false);
            if !process.lost {
                self.lease = Some(who);
            }
            for turn in 0.. {
                assert!(turn < 200, "LAW every run ends: {:#?}", self.processes[who]);
                // A person who never answers is nobody's fault.
                let work = &self.processes[who].work;
                let asks = matches!(work, WorkSeen::Underway(Work::Admit | Work::Accept));
                self.good_turn(who, (!stuck || asks).then_some(Ending::True));
                if self.processes[who].end.is_some() {
                    break;
                }
                self.pass(20);
            }
        }
    }
}
