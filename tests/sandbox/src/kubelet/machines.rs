//! What can be done to machines: by a test, or from outside of this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::boot::{Boot, Facts};
use super::machine::Machine;
use super::pods::Helpers;
use crate::http::lock;
use crate::{Error, Result};

/// The machines of a [`Kubelet`](super::Kubelet), as whoever stands before them handles them. When that stops, so do they.
#[derive(Clone)]
pub struct Machines(Arc<BTreeMap<String, Arc<Machine>>>);

impl Machines {
    pub(super) fn new(machines: Arc<BTreeMap<String, Arc<Machine>>>) -> Self {
        Self(machines)
    }

    /// Sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Boot id, uptime, how often it rebooted, whether it is on.
    pub fn facts(&self, name: &str) -> Result<Facts> {
        Ok(self.machine(name)?.facts())
    }

    /// How it comes back when it reboots, whoever ordered that.
    pub fn boots(&self, name: &str, boot: Boot) -> Result<()> {
        *lock(&self.machine(name)?.boot) = boot;
        Ok(())
    }

    /// Begins a reboot, as by its reset button.
    pub fn reboot(&self, name: &str) -> Result<()> {
        self.machine(name)?.reboot_after(Duration::ZERO);
        Ok(())
    }

    /// What an order to reboot that carries a guard does: as a helper pod's script, but over another way, such as ssh.
    /// Exit code and output.
    pub fn order_reboot(&self, name: &str, boot_id: &str, not_after: &str) -> Result<(i64, String)> {
        let machine = self.machine(name)?;
        let (code, said) = machine.guard(boot_id, not_after);
        if code == 0 {
            machine.reboot_after(machine.options().reboot_delay);
        }
        Ok((code, said))
    }

    /// Pulls the plug. A write that was on its way may still arrive: [`silence`](Self::silence) waits for it.
    pub fn power_off(&self, name: &str) -> Result<()> {
        self.machine(name)?.power_off();
        Ok(())
    }

    /// Until a machine that is off has written its last.
    pub async fn silence(&self, name: &str) -> Result<()> {
        self.machine(name)?.silence().await;
        Ok(())
    }

    /// Begins to boot, if it is off.
    pub fn press_power(&self, name: &str) -> Result<()> {
        self.machine(name)?.press_power();
        Ok(())
    }

    /// Boots, if it is off; when this returns the API knows.
    pub async fn power_on(&self, name: &str) -> Result<()> {
        self.machine(name)?.power_on().await;
        Ok(())
    }

    /// So much time passes on the machine.
    pub fn advance_uptime(&self, name: &str, by: Duration) -> Result<()> {
        self.machine(name)?.advance(by);
        Ok(())
    }

    /// How helper pods fare there from now on, those that wait included.
    pub fn helpers(&self, name: &str, helpers: Helpers) -> Result<()> {
        self.machine(name)?.power.send_modify(|power| power.helpers = helpers);
        Ok(())
    }

    /// Writes `Ready` True or False, and keeps to it.
    pub async fn set_ready(&self, name: &str, ready: bool) -> Result<()> {
        self.machine(name)?.set_ready(ready).await
    }

    /// Reports another boot id than its own: none, or another machine's.
    pub async fn claim_boot_id(&self, name: &str, boot_id: &str) -> Result<()> {
        wrote(name, self.machine(name)?.claim_boot_id(boot_id).await)
    }

    /// Lets its kubelet write an annotation of its Node, or remove it: what a machine that somebody has taken over can do.
    pub async fn annotate(&self, name: &str, key: &str, value: Option<&str>) -> Result<()> {
        wrote(name, self.machine(name)?.annotate(key, value).await)
    }

    /// Runs a static pod there; its mirror in the API is `NAME-MACHINE`.
    pub async fn run_static(&self, name: &str, namespace: &str, pod: &str) -> Result<()> {
        wrote(name, self.machine(name)?.run_static(namespace, pod).await)
    }

    pub(super) async fn stop(&self) {
        for machine in self.0.values() {
            machine.stop().await;
        }
    }

    /// What a pod has printed there, if it is one of those that print.
    pub(super) fn log(&self, machine: &str, namespace: &str, pod: &str) -> Option<String> {
        self.0.get(machine)?.log(namespace, pod)
    }

    fn machine(&self, name: &str) -> Result<&Arc<Machine>> {
        let machine = self.0.get(name);
        machine.ok_or_else(|| Error::new(format!("there is no machine {name} in this sandbox")))
    }
}

fn wrote(name: &str, written: kube::Result<()>) -> Result<()> {
    written.map_err(|error| Error::while_doing(format_args!("machine {name} cannot write"), &error))
}
