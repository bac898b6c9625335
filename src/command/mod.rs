//! One thin file per subcommand.

mod check;
mod completion;
mod options;
mod reach;
mod remediate;
mod render;
mod status;
mod stop;
mod sync;
mod version;

use std::sync::Arc;

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
            let exit = sync::run(&settings, &cluster, &ui).await?;
            refuse_warnings(&kubernetes, &cluster, exit)
        }
        Command::Remediate(args) => {
            let settings = RemediateSettings::resolve(*args)?;
            let cluster = connect(&kubernetes, &ui).await?;
            let exit = Box::pin(remediate::run(&settings, &cluster, &ui)).await?;
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
