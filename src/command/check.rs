//! `kubectl sciuro check`: everything at the same time, then said in a fixed order.

mod document;
mod helper;
mod leases;
mod line;
mod permissions;
mod sources;

use std::sync::Arc;
use std::time::Duration;

use self::line::{Line, Mark};
use crate::cli::CheckedCommand;
use crate::cluster::{Cluster, Rule};
use crate::error::{Exit, Result};
use crate::settings::CheckSettings;
use crate::ui::Ui;

/// The longest that one line may take; all are looked at at the same time.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(settings: &CheckSettings, cluster: &Arc<Cluster>, ui: &Arc<Ui>) -> Result<Exit> {
    let remediation = async {
        if !settings.covers(CheckedCommand::Remediate) {
            return Vec::new();
        }
        let (leases, helpers) =
            futures::join!(leases::of_remediations(settings, cluster), helper::check(settings, cluster));
        leases.into_iter().chain(helpers).collect()
    };
    let ((api, permissions, ours), (upstream, sources), remediation) = futures::join!(
        async {
            futures::join!(
                line::within(PATIENCE, "API server", api_server(cluster)),
                permissions::check(settings, cluster),
                leases::ours(settings, cluster),
            )
        },
        async { futures::join!(leases::upstream(settings, cluster), sources::check(settings, cluster, ui)) },
        remediation,
    );
    let (permissions, missing) = permissions.finish(ours.exists);
    let mut lines = vec![api];
    lines.extend(permissions);
    if settings.covers(CheckedCommand::Status) || settings.covers(CheckedCommand::Sync) {
        lines.extend([ours.lease, upstream, ours.last_full]);
        lines.extend(sources);
    }
    lines.extend(remediation);
    lines.push(completion());
    line::blame_the_server(&mut lines);
    document::print(&lines, &missing, settings, ui);
    let failed = lines.iter().any(|line| line.mark == Mark::Failed);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

async fn api_server(cluster: &Cluster) -> Line {
    const NAME: &str = "API server";
    match cluster.server_version().await {
        Ok(version) => Line::ok(NAME, format!("{version} at {}", cluster.url().trim_end_matches('/'))),
        Err(error) => {
            Line::of_api(NAME, &error, "get", &Rule { group: "", resource: "/version", namespace: None })
        }
    }
}

/// kubectl looks for this name on PATH when `kubectl sciuro <TAB>` is typed.
fn completion() -> Line {
    const NAME: &str = "completion";
    let file = format!("kubectl_complete-sciuro{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).find(|folder| folder.join(&file).is_file()) {
        Some(_) => Line::ok(NAME, format!("{file} is on PATH")),
        None => Line::warning(
            NAME,
            format!("{file} is not on PATH: kubectl completes nothing after `kubectl sciuro`"),
        )
        .hint("kubectl sciuro completion kubectl --install"),
    }
}
