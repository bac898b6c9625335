//! What a person is asked, in order: the plan; what kubectl drain does with a flag only; before the reboot; whether to
//! uncordon a node that did not verify.

use super::drain_plan::{DrainPlan, Exception};
use super::preflight::Preflight;
use crate::cli::DryRun;
use crate::cluster::RemediatedNode;
use crate::core::remediation::Method;
use crate::error::{Error, Exit, Result};
use crate::remedy::reboot::Reboot;
use crate::settings::{DrainSettings, RemediateSettings};
use crate::signal::Signal;
use crate::ui::{Ui, nobody_answers};

/// Before anything is looked at: nobody is there to answer.
pub(super) fn refuse_without_answers(settings: &RemediateSettings, ui: &Ui) -> Result<()> {
    if settings.yes || settings.dry_run != DryRun::None || ui.can_ask() {
        return Ok(());
    }
    Err(no_terminal("add --yes to go on without prompts"))
}

fn no_terminal(hint: &str) -> Error {
    nobody_answers("; nothing was changed").hint(hint)
}

/// Asks about one node.
pub(super) struct Prompts<'p> {
    node: String,
    is_control_plane: bool,
    /// What the request takes of where the node is.
    takes: Vec<String>,
    settings: &'p RemediateSettings,
    ui: &'p Ui,
}

impl<'p> Prompts<'p> {
    pub(super) fn new(preflight: &Preflight, settings: &'p RemediateSettings, ui: &'p Ui) -> Self {
        let (address, id) = preflight.reboot.as_ref().map(Reboot::takes).unwrap_or_default();
        let takes = address.map(|address| address.text.clone()).into_iter().chain(id.map(str::to_owned));
        Self {
            node: preflight.node.name.clone(),
            is_control_plane: preflight.is_control_plane,
            takes: takes.collect(),
            settings,
            ui,
        }
    }

    /// For a run that goes on: there is no plan.
    pub(super) fn of(name: &str, node: &RemediatedNode, settings: &'p RemediateSettings, ui: &'p Ui) -> Self {
        let is_control_plane = node.is_control_plane();
        Self { node: name.to_owned(), is_control_plane, takes: Vec::new(), settings, ui }
    }

    /// Whether a person is asked at all.
    pub(super) fn can_ask(&self) -> bool {
        !self.settings.yes && self.ui.can_ask()
    }

    /// Whether the node's name has to be typed before the reboot.
    fn is_typed(&self) -> bool {
        self.is_control_plane && !self.settings.confirmed.contains(&self.node)
    }

    /// Once it is known what will be asked: nobody is there to type it.
    pub(super) fn refuse_without_answers(&self) -> Result<()> {
        if self.is_typed() && !self.ui.can_ask() {
            return Err(no_terminal(&format!(
                "{node} is a control-plane node, which --yes does not stand for: add --confirm={node}",
                node = self.node
            )));
        }
        Ok(())
    }

    /// The plan was shown: is it to be carried out?
    pub(super) async fn plan(&self) -> Result<()> {
        if self.settings.yes {
            return Ok(());
        }
        let question = format!("Remediate node {} as planned?", self.node);
        judge(self.ui.ask(&question).await, "nothing was changed")
    }

    /// Asks for each flag that the drain would need, once; what is granted is added to `granted`.
    pub(super) async fn drain_exceptions(&self, plan: &DrainPlan, granted: &mut DrainSettings) -> Result<()> {
        for exception in plan.exceptions() {
            let these = plan.obstacles.iter().filter(|obstacle| obstacle.exception == Some(exception));
            for (obstacle, pods) in these.filter_map(|obstacle| Some((obstacle, obstacle.pods.as_ref()?))) {
                self.ui.note(&format!("{}: {pods}", obstacle.name));
            }
            let question = match exception {
                Exception::IgnoreDaemonsets => "Leave the pods of DaemonSets, which end with the reboot?",
                Exception::DeleteEmptydirData => {
                    "Evict these pods, and lose the data in their emptyDir volumes?"
                }
                Exception::Force => "Evict these pods, which no controller starts again?",
            };
            // --yes stands for none of them.
            judge(self.ui.ask(question).await, "nothing was changed")?;
            exception.grant(granted);
        }
        Ok(())
    }

    /// The node is drained: is it to go down now?
    pub(super) async fn reboot(&self) -> Result<()> {
        let node = &self.node;
        let undo = format!("node/{node} stays as it is");
        let how = match self.settings.reboot.method {
            Method::Pod => ", by a pod on it".to_owned(),
            Method::Signal => ", by a signal to its systemd".to_owned(),
            Method::Ssh => format!(", over ssh to {}", self.takes.concat()),
            Method::Command if self.takes.is_empty() => ", by the command of the plan".to_owned(),
            Method::Command => format!(", by the command of the plan (with {})", self.takes.join(" and ")),
            Method::Manual => String::new(),
        };
        if self.is_typed() {
            let question = format!("{node} is a control-plane node. Type its name to reboot it{how}");
            let answer = self.ui.ask_for(&question, node).await;
            return judge(answer, &undo);
        }
        if self.settings.yes {
            return Ok(());
        }
        let question = match self.settings.reboot.method {
            Method::Command => format!("Reboot node {node} now{how}? It runs once. Type yes to reboot"),
            Method::Manual => format!("Will you reboot node {node} now? Type yes if so"),
            _ => format!("Reboot node {node} now{how}? Type yes to reboot"),
        };
        judge(self.ui.ask_for(&question, "yes").await, &undo)
    }

    /// It did not verify, and what is not as it was before was shown.
    pub(super) async fn uncordon(&self) -> Result<()> {
        let question = format!("Uncordon node {} all the same?", self.node);
        judge(self.ui.ask(&question).await, "it stays cordoned")
    }
}

fn judge(answer: Result<bool, Signal>, after_no: &str) -> Result<()> {
    match answer {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new(Exit::Declined, format!("declined; {after_no}"))),
        Err(signal) => Err(Error::new(signal.exit(), format!("interrupted; {after_no}"))),
    }
}
