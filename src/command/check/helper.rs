//! Whether the pods that reboot a node and look at it would be admitted: they are privileged, or see the host's processes,
//! which many a policy refuses.

use futures::future::join_all;

use super::line::{Line, within};
use crate::cluster::{Cluster, Permission, Rule};
use crate::error::{Error, Exit};
use crate::remedy::reboot::helper::{HelperOptions, shown};
use crate::remedy::reboot::pod;
use crate::settings::CheckSettings;

const PODS: Rule<'static> = Rule { group: "", resource: "pods", namespace: None };

pub(super) async fn check(settings: &CheckSettings, cluster: &Cluster) -> Vec<Line> {
    join_all(settings.helpers().iter().map(|options| of(options, cluster))).await
}

async fn of(options: &HelperOptions, cluster: &Cluster) -> Line {
    let name = format!("helper pod in {}", options.namespace);
    let look = async {
        let create = Permission::of("create", &PODS).within(Some(&options.namespace));
        match cluster.may(&create).await {
            Ok(true) => {}
            Ok(false) => return Line::failed(&name, "not checked: no pod may be created there"),
            Err(error) => return Line::unreadable(&name, &error),
        }
        // The server does not look whether the node is there.
        match pod::rehearse(cluster, options, "check").await {
            Ok(()) => {
                let way = if options.by_signal { ", which sends a signal," } else { "" };
                Line::ok(&name, format!("{}{way} would be admitted (remediate)", shown(&options.image)))
            }
            Err(refused) => {
                let error = Error::new(Exit::Failed, &refused.why);
                Line::of(&name, &refused.hints.iter().fold(error, Error::hint))
            }
        }
    };
    within(super::PATIENCE, &name, look).await
}
