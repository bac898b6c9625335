//! One thin file per subcommand.

mod check;
mod clusters;
mod completion;
mod names;
mod options;
mod reach;
mod remediate;
mod render;
mod status;
mod stop;
mod sync;
mod typed;
mod version;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures::FutureExt;

use crate::cli::{Cli, Command, KubernetesArgs};
use crate::cluster::Cluster;
use crate::error::{Error, Exit, Result};
use crate::settings::{CheckSettings, RemediateSettings, StatusSettings, SyncSettings};
use crate::ui::Ui;

/// Runs the command that was given.
pub async fn run(cli: Cli, ui: Arc<Ui>) -> Result<Exit> {
    let kubernetes = cli.global.kubernetes;
    match cli.command {
        Command::Status(args) => {
            let settings = StatusSettings::resolve(*args)?;
            let cluster = connect(&kubernetes, &ui).await?;
            let exit = stop::until_stopped(None, Box::pin(status::run(&settings, &cluster, &ui))).await??;
            refuse_warnings(&kubernetes, &cluster, exit)
        }
        Command::Sync(args) => {
            let settings = SyncSettings::resolve(*args)?;
            let cluster = connect(&kubernetes, &ui).await?;
            let exit = to_the_end(&cluster, sync::run(&settings, &cluster, &ui)).await?;
            refuse_warnings(&kubernetes, &cluster, exit)
        }
        Command::Remediate(args) => {
            let settings = RemediateSettings::resolve(*args)?;
            let cluster = connect(&kubernetes, &ui).await?;
            let exit = to_the_end(&cluster, Box::pin(remediate::run(&settings, &cluster, &ui))).await?;
            refuse_warnings(&kubernetes, &cluster, exit)
        }
        Command::Check(args) => {
            let settings = CheckSettings::resolve(*args)?;
            let cluster = connect(&kubernetes, &ui).await?;
            let exit = stop::until_stopped(None, Box::pin(check::run(&settings, &cluster, &ui))).await??;
            refuse_warnings(&kubernetes, &cluster, exit)
        }
        Command::Version(args) => stop::until_stopped(None, version::run(&args, &kubernetes, &ui)).await?,
        Command::Completion(args) => completion::run(&args, &ui),
        Command::Options => Ok(options::run(&ui)),
    }
}

/// A command that takes Leases: whatever it comes to, the process does not end before they are released.
async fn to_the_end<T>(cluster: &Cluster, command: impl Future<Output = T>) -> T {
    let done = AssertUnwindSafe(command).catch_unwind().await;
    cluster.leases_released().await;
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

async fn connect(args: &KubernetesArgs, ui: &Arc<Ui>) -> Result<Arc<Cluster>> {
    let ui = ui.clone();
    Cluster::connect(args, move |warning| ui.warning(warning)).await.map(Arc::new)
}

/// `--warnings-as-errors`, in kubectl's words.
fn refuse_warnings(args: &KubernetesArgs, cluster: &Cluster, exit: Exit) -> Result<Exit> {
    let warnings = cluster.warnings();
    if args.warnings_as_errors && warnings > 0 {
        return Err(Error::new(Exit::Failed, format!("{} received", render::count(warnings, "warning"))));
    }
    Ok(exit)
}
