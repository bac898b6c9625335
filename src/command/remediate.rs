//! `kubectl sciuro remediate`: cordon, collect, drain, reboot, verify, uncordon; one node after the other.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::error::{Error, Exit, Result};
use crate::settings::RemediateSettings;
use crate::ui::Ui;

pub(super) async fn run(
    _settings: &RemediateSettings,
    _cluster: &Arc<Cluster>,
    _ui: &Arc<Ui>,
) -> Result<Exit> {
    Err(Error::new(Exit::Failed, "remediate is not built yet"))
}
