//! Whether the pod that reboots a node would be admitted: it is privileged, which many a policy refuses.

use super::line::{Line, within};
use crate::cluster::{Cluster, Permission, Rule};
use crate::error::{Error, Exit};
use crate::remedy::reboot::pod::{self, HelperOptions};
use crate::settings::CheckSettings;

const PODS: Rule<'static> = Rule { group: "", resource: "pods", namespace: None };

pub(super) async fn check(settings: &CheckSettings, cluster: &Cluster) -> Line {
    let options = HelperOptions::new(&settings.helper_namespace, &settings.helper_image);
    let name = format!("helper pod in {}", options.namespace);
    let look = async {
        let create = Permission::of("create", &PODS).within(Some(&options.namespace));
        match cluster.may(&create).await {
            Ok(true) => {}
            Ok(false) => return Line::failed(&name, "not checked: no pod may be created there"),
            Err(error) => return Line::unreadable(&name, &error),
        }
        // The server does not look whether the node is there.
        match pod::rehearse(cluster, &options, "check", "rehearsal").await {
            Ok(()) => Line::ok(&name, format!("{} would be admitted (remediate)", options.image)),
            Err(refused) => {
                let error = Error::new(Exit::Failed, &refused.why);
                Line::of(&name, &refused.hints.iter().fold(error, Error::hint))
            }
        }
    };
    within(super::PATIENCE, &name, look).await
}
