//! The work of each state, begun when the machine asks for it.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;

use super::alerts::Alerts;
use super::locks::Locks;
use super::prompts::Prompts;
use super::report::Report;
use super::silence::Silencing;
use super::steps::Steps;
use super::{admission, begin};
use crate::cli::Tier;
use crate::cluster::{ApiError, Cluster, RecordError, RemediatedNode, Rule, WatchedNode};
use crate::core::boot::{Proof, is_new};
use crate::core::remediation::{
    Failure, FailureKind, Method, Product, Recall, Record, RecordWrite, State, Work, Write, last_look,
};
use crate::core::verify::AlertsSeen;
use crate::error::Exit;
use crate::remedy::collect::{self, Moment};
use crate::remedy::reboot::command::CommandOptions;
use crate::remedy::reboot::{self, Reboot, RebootError, Target};
use crate::remedy::{News, Tell, boot, drain, verify};
use crate::settings::RemediateSettings;

pub(super) type Doing<'w> = Pin<Box<dyn Future<Output = Result<Product, Failure>> + Send + 'w>>;
pub(super) type Views = watch::Receiver<WatchedNode>;

/// Does the work of one run.
pub(super) struct Worker<'w> {
    pub(super) cluster: &'w Arc<Cluster>,
    pub(super) settings: &'w RemediateSettings,
    pub(super) locks: &'w Locks,
    pub(super) alerts: Option<&'w Alerts<'w>>,
    pub(super) silencing: &'w Silencing<'w>,
    pub(super) prompts: Prompts<'w>,
    /// How the machine is told to reboot; `None`: it is not, whatever the record says.
    pub(super) reboot: Option<Reboot>,
    pub(super) verify_command: Option<CommandOptions>,
    pub(super) drain: drain::DrainOptions,
    pub(super) steps: Steps<'w>,
    /// Its name.
    pub(super) node: String,
    /// The remediation's id.
    pub(super) id: String,
    /// Who acts, and which process.
    pub(super) holder: String,
    /// What is told of all this at its end.
    pub(super) report: &'w Report,
}

impl Worker<'_> {
    /// Begins a work. `node` and `record` are as they are stored.
    pub(super) fn begin(&self, work: Work, node: RemediatedNode, record: Record, views: Views) -> Doing<'_> {
        match work {
            Work::Collect => Box::pin(self.collect(node, record)),
            Work::Drain => Box::pin(self.drain()),
            Work::Admit => Box::pin(self.admit(record)),
            Work::Issue => Box::pin(self.issue(record)),
            Work::AwaitBoot => Box::pin(self.await_boot(record, views)),
            Work::Verify => Box::pin(self.verify(node, record, views)),
            Work::Accept => Box::pin(self.accept()),
            Work::CleanUp => Box::pin(self.clean_up(record)),
            Work::Recall => Box::pin(self.recall(record, views)),
        }
    }

    /// Goes on with a work. One that changes things pauses while the Lease is in doubt: whoever wakes from a sleep has been
    /// late, and another may have given the node back. The caller asks anew whenever that may have changed.
    pub(super) async fn while_ours(&self, work: Work, doing: &mut Doing<'_>) -> Result<Product, Failure> {
        let pauses = matches!(work, Work::Drain | Work::Admit | Work::CleanUp);
        poll_fn(|context| {
            if pauses && !self.locks.node.is_held() { Poll::Pending } else { doing.as_mut().poll(context) }
        })
        .await
    }

    /// A record was stored: the person, the Events and the condition follow it.
    pub(super) async fn stored(&self, node: &RemediatedNode, write: &Write) {
        let cluster = self.cluster;
        self.report.stored(node, write);
        match &write.record {
            RecordWrite::Put(record) => {
                let state = format!("{:?}", record.state);
                let why = record.last_error.clone().unwrap_or_default();
                let is_warning = matches!(record.state, State::NeedsHuman | State::Aborted);
                match record.state {
                    State::NeedsHuman => {
                        self.tell_failing();
                        self.steps.failed(&why);
                    }
                    state => self.steps.enter(state),
                }
                if record.state == State::WaitBoot && record.attempts.is_empty() && !why.is_empty() {
                    self.steps.tell(News::Line(&why)); // it rebooted by itself
                }
                let message =
                    if is_warning { why } else { format!("remediation {}, by {}", record.id, record.holder) };
                let reason = format!("Sciuro{state}");
                futures::join!(
                    cluster.node_event(&node.name, &node.view.uid, &reason, &message, is_warning),
                    cluster.set_remediation_condition(node, Some((&state, &message))),
                );
            }
            RecordWrite::Finish(last) => {
                let reason = format!("Sciuro{:?}", last.outcome);
                let message = format!("remediation {}, by {}", last.id, last.actor);
                cluster.node_event(&node.name, &node.view.uid, &reason, &message, false).await;
                if node.says_under_way() {
                    // It could not be taken away before.
                    cluster.set_remediation_condition(node, None).await;
                }
            }
        }
    }

    pub(super) fn cannot_store(&self, error: &RecordError) {
        let facts = format!("the record cannot be written: {error}");
        self.steps.tell(News::Wait { elapsed: Duration::ZERO, facts: &facts });
    }

    fn target(&self) -> Target<'_> {
        Target { cluster: self.cluster, node: &self.node, id: &self.id, tell: &self.steps }
    }

    async fn collect(&self, node: RemediatedNode, record: Record) -> Result<Product, Failure> {
        let path = self.bundle(&node, &record, Moment::BeforeTheDrain).await;
        Ok(Product::Bundle(path.map(|path| path.display().to_string())))
    }

    /// Diagnostics as they are now, and where they are. What cannot be had, or not be written, is said and no failure: the
    /// node is not to wait for it.
    async fn bundle(&self, node: &RemediatedNode, record: &Record, moment: Moment) -> Option<PathBuf> {
        let settings = &self.settings.collect;
        let options = collect::CollectOptions {
            directory: settings.directory.clone(),
            since: settings.since,
            max_size: settings.max_size,
            within: self.collects_within(moment),
            redact: settings.redact.clone(),
            kubelet: self.settings.collects(Tier::Kubelet),
            host: self.settings.collects(Tier::Host).then(|| begin::helper(self.settings)),
        };
        let subject = collect::Subject {
            node: node.name.clone(),
            id: self.id.clone(),
            record: node.record_json().unwrap_or_default().to_owned(),
            bundle: self.bundle_of(record),
            moment,
            attached: match self.alerts {
                Some(alerts) => alerts.raw(&self.node).await,
                None => Vec::new(),
            },
        };
        let collected = collect::collect(self.cluster, &subject, &options, &self.steps).await;
        let collected = match collected {
            Ok(collected) => collected,
            Err(error) => {
                let why = format!("the diagnostics cannot be written: {error}");
                match moment {
                    Moment::BeforeTheDrain => self.steps.failed(&why), // and the run goes on
                    Moment::AfterTheBoot => self.steps.tell(News::Warning(&why)),
                }
                return None;
            }
        };
        let place = collected.path.as_ref().map_or("stdout".into(), |path| path.display().to_string());
        let missing = match collected.errors {
            0 => String::new(),
            errors => format!(", {errors} not to be had (errors.txt)"),
        };
        self.steps.tell(News::Line(&format!("{} files in {place}{missing}", collected.files)));
        collected.path
    }

    /// A verification is not late because of its diagnostics.
    fn collects_within(&self, moment: Moment) -> Duration {
        let limit = self.settings.collect.timeout.unwrap_or(LONGEST_COLLECT);
        match (moment, self.settings.verify.timeout) {
            (Moment::AfterTheBoot, Some(verify)) => limit.min(verify / 2),
            _ => limit,
        }
    }

    /// Deletes the pod that collects, if what it was for was stopped.
    pub(super) async fn end_collecting(&self) {
        if self.settings.collects(Tier::Host) {
            collect::clean_up(&self.target(), &begin::helper(self.settings)).await;
        }
    }

    /// The bundle of this run, if it is where we would put it.
    fn bundle_of(&self, record: &Record) -> Option<PathBuf> {
        let directory = self.settings.collect.directory.as_ref()?;
        collect::earlier(directory, &self.node, record.bundle.as_ref()?)
    }

    async fn drain(&self) -> Result<Product, Failure> {
        drain::drain(self.cluster.clone(), &self.node, &self.drain, &self.steps)
            .await
            .map(|drained| {
                self.report.drained(drained.kept);
                Product::Done
            })
            .map_err(|failure| {
                self.report.not_drained(&failure.left);
                for pod in &failure.left {
                    let line = format!("{}/{}: {}; {}", pod.namespace, pod.name, pod.reason, pod.hint);
                    self.steps.tell(News::Line(&line));
                }
                for hint in &failure.hints {
                    self.steps.tell(News::Hint(hint));
                }
                let without_them = "to continue without waiting for them";
                if failure.kind == drain::DrainFailureKind::Volumes {
                    let node = &self.node;
                    self.steps.tell(News::Hint(&format!(
                        "{without_them}: kubectl sciuro remediate {node} --resume --skip drain"
                    )));
                }
                let is_late = matches!(
                    failure.kind,
                    drain::DrainFailureKind::TimedOut | drain::DrainFailureKind::Volumes
                );
                Failure {
                    kind: if is_late { FailureKind::TimedOut } else { FailureKind::Failed },
                    why: failure.why,
                }
            })
    }

    /// The last questions before the machine goes down: is it this machine, may it go now, does the person want it?
    async fn admit(&self, record: Record) -> Result<Product, Failure> {
        self.steps.done(None);
        self.prompts.reboot().await.map_err(|error| Failure {
            kind: if error.exit == Exit::Declined { FailureKind::Declined } else { FailureKind::Failed },
            why: error.to_string(),
        })?;
        let failure = match self.ask_machine_and_gates(&record).await {
            Ok(uptime) => return Ok(Product::Admitted { uptime }),
            Err(failure) => failure,
        };
        // It went down while it was asked, maybe by a request of the process before this one.
        let has_rebooted = match failure.kind {
            FailureKind::OtherBoot if record.open_attempt().is_some() => true,
            FailureKind::OtherBoot | FailureKind::Failed => self.says_another_boot(&record).await,
            _ => return Err(failure),
        };
        let kind = if has_rebooted { FailureKind::OtherBoot } else { FailureKind::Failed };
        Err(Failure { kind, ..failure })
    }

    async fn ask_machine_and_gates(&self, record: &Record) -> Result<Option<u64>, Failure> {
        if let (Some(Reboot::Pod(options)), Some(_)) = (&self.reboot, record.open_attempt()) {
            // The helper of the process before this one, which may not have started yet.
            let recalled = reboot::clean_up(options, &self.target()).await;
            recalled.map_err(|error| self.told(&error))?;
        }
        let uptime = self.probe(&record.pre_boot_id).await?;
        admission::ask_again(self, record).await.map_err(|error| failed(error.to_string()))?;
        Ok(uptime)
    }

    async fn says_another_boot(&self, record: &Record) -> bool {
        let node = self.cluster.remediated_node(&self.node).await;
        node.ok().flatten().is_some_and(|node| is_new(&record.pre_boot_id, &node.view.boot_id))
    }

    /// Removes what runs before this one have left behind. A run does not depend on it.
    pub(super) async fn sweep(&self) {
        let Some(Reboot::Pod(options)) = &self.reboot else { return };
        match reboot::helper::sweep(self.cluster, options).await {
            Ok(swept) => swept.iter().for_each(|name| {
                self.steps.tell(News::Line(&format!("removed {name}, which an earlier run left behind")));
            }),
            Err(error) => tracing::info!(%error, "helper pods of earlier runs were not looked for"),
        }
    }

    /// Deletes the pod that probes, if that was stopped. Its image may never come.
    pub(super) async fn end_probe(&self) {
        let Some(Reboot::Pod(options)) = &self.reboot else { return };
        let target = self.target();
        let ended = reboot::end_probe(options, &target);
        // The next start-up sweep takes what is left.
        let _swept_later = tokio::time::timeout(PROBE_ENDS_WITHIN, ended).await;
    }

    /// The machine's uptime; it has to be the machine of this boot. `None` for methods that cannot ask.
    pub(super) async fn probe(&self, boot_id: &str) -> Result<Option<u64>, Failure> {
        let reboot = self.reboot.as_ref().ok_or_else(sends_nothing)?;
        let probed = reboot::probe(reboot, &self.target()).await.map_err(|error| self.told(&error))?;
        let Some(probed) = probed else { return Ok(None) };
        if probed.boot_id != boot_id {
            let why = format!(
                "another machine answers, or another boot: its boot id is {}, the node's is {boot_id}",
                probed.boot_id
            );
            let hint = format!(
                "what its kubelet says of it: kubectl get node {} -o jsonpath={{.status.nodeInfo}}",
                self.node
            );
            let error = RebootError { other_boot: true, ..RebootError::new(why) };
            return Err(self.told(&error.hint(hint)));
        }
        Ok(Some(probed.uptime))
    }

    /// One order. The Leases are confirmed and the Node read right before it.
    async fn issue(&self, record: Record) -> Result<Product, Failure> {
        let attempt = record.attempts.last().ok_or_else(|| failed("the record has no attempt"))?;
        self.locks.renew_now().await.map_err(|error| failed(error.explain().to_string()))?;
        let explain = |error: ApiError| failed(error.explain("get", &Rule::NODES).to_string());
        let node = self.cluster.remediated_node(&self.node).await.map_err(explain)?;
        let view = node.map(|node| node.view).unwrap_or_default();
        last_look(&record, &view)?;
        let limit = attempt.not_after_uptime;
        let reboot = self.reboot.as_ref().ok_or_else(sends_nothing)?;
        match reboot::issue(reboot, &self.target(), attempt.n, &record.pre_boot_id, limit).await {
            Ok(issued) => {
                issued.output.lines().for_each(|line| self.steps.tell(News::Line(line)));
                Ok(Product::Issued)
            }
            Err(error) => Err(self.told(&error)),
        }
    }

    async fn await_boot(&self, record: Record, views: Views) -> Result<Product, Failure> {
        let proof = Proof::new(record.pre_boot_id, record.baseline.ready_heartbeat);
        let proven = boot::await_boot(self.cluster, &self.node, views, proof, &self.steps).await;
        let boot_id = proven.map_err(|error| failed(error.explain("get", &Rule::NODE_LEASES).to_string()))?;
        Ok(Product::Proven { boot_id })
    }

    async fn verify(&self, node: RemediatedNode, record: Record, views: Views) -> Result<Product, Failure> {
        let after = async {
            if self.bundle_of(&record).is_some() {
                let _said = self.bundle(&node, &record, Moment::AfterTheBoot).await;
            }
        };
        let gone = match self.alerts {
            Some(alerts) => alerts.gone(&self.node, &record.reason).await.map(|gone| (alerts, gone)),
            None => None,
        };
        let unasked =
            gone.is_some().then(|| AlertsSeen::Untrusted("the source has not answered yet".to_owned()));
        let (tell, seen) = watch::channel(unasked);
        let followed = async {
            match gone {
                Some((alerts, gone)) => alerts.follow(gone, &tell).await,
                None => std::future::pending().await,
            }
        };
        let options = verify::VerifyOptions {
            stable_for: self.settings.verify.stable_for,
            within: record.remaining(self.cluster.now()),
            command: self.verify_command.clone(),
            alerts: seen,
        };
        let verified = verify::verify(
            self.cluster,
            &self.node,
            &record,
            views,
            &options,
            &self.report.checks,
            &self.steps,
        );
        tokio::select! {
            (verified, ()) = async { futures::join!(verified, after) } => {
                verified.map_err(|error| failed(error.explain("list", &Rule::PODS).to_string()))?;
            }
            () = followed => {}
        }
        Ok(Product::Done)
    }

    /// What kept the verification from passing.
    fn tell_failing(&self) {
        let checks = self.report.checks.lock().unwrap_or_else(PoisonError::into_inner);
        for check in checks.iter().filter(|check| !check.passed) {
            self.steps.tell(News::Line(&format!("✗ {} {}", check.name, check.why)));
        }
    }

    async fn accept(&self) -> Result<Product, Failure> {
        match self.prompts.uncordon().await {
            Ok(()) => Ok(Product::Done),
            Err(error) => Err(Failure { kind: FailureKind::Declined, why: error.to_string() }),
        }
    }

    async fn clean_up(&self, record: Record) -> Result<Product, Failure> {
        let mut methods = record.attempts.iter().map(|attempt| attempt.method).chain([record.method]);
        if methods.any(Method::uses_pod) {
            let cleaned = reboot::clean_up(&begin::helper(self.settings), &self.target()).await;
            cleaned.map_err(|error| self.told(&error))?;
        }
        self.silencing.end().await;
        Ok(Product::Done)
    }

    async fn recall(&self, record: Record, views: Views) -> Result<Product, Failure> {
        let Some(attempt) = record.attempts.last() else { return Ok(Product::Recalled(Recall::Spent)) };
        let (helpers, target) = (begin::helper(self.settings), self.target());
        let recalled =
            reboot::recall(&helpers, &target, attempt, &record.pre_boot_id, views, &self.steps).await;
        recalled.map(Product::Recalled).map_err(|error| self.told(&error))
    }

    /// A failure of the reboot, with its hints shown.
    fn told(&self, error: &RebootError) -> Failure {
        let kind = if error.other_boot { FailureKind::OtherBoot } else { FailureKind::Failed };
        for hint in &error.hints {
            self.steps.tell(News::Hint(hint));
        }
        Failure { kind, why: error.why.clone() }
    }
}

/// Somebody who has stopped a run waits for no more.
const PROBE_ENDS_WITHIN: Duration = Duration::from_secs(5);
const LONGEST_COLLECT: Duration = Duration::from_secs(3600);

/// A run that goes on where nothing is to be sent any more.
fn sends_nothing() -> Failure {
    failed("this run sends no request to reboot")
}

/// What it says of an error goes into a sentence.
fn failed(why: impl AsRef<str>) -> Failure {
    let why = why.as_ref();
    Failure { kind: FailureKind::Failed, why: why.strip_prefix("error: ").unwrap_or(why).to_owned() }
}
