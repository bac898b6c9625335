//! Closes the loop between alerts and nodes: firing alerts become Node conditions, and nodes are remediated.
//!
//! Imports point one way: `command → {source, cluster, metrics, ui} → core`. `source`, `cluster`, `metrics` and `ui` do not see
//! each other; `core` is pure. A test (`tests/it/layers.rs`) keeps it so.

pub mod cli;
pub mod cluster;
pub mod command;
mod complete;
pub mod core;
mod document;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
mod json;
pub mod metrics;
pub mod remedy;
pub mod settings;
mod signal;
pub mod source;
mod telemetry;
mod tls;
mod trusted_file;
pub mod ui;

use std::ffi::OsString;
use std::sync::Arc;

use error::{Error, Exit};
use settings::Failure;
use ui::Ui;

/// Runs one command line and returns the exit code.
pub fn run(arguments: Vec<OsString>) -> Exit {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    if let Some(words) = complete::request(&arguments) {
        complete::answer(words, &environment);
        return Exit::Done;
    }
    let (cli, ignored) = match settings::parse(arguments, &environment) {
        Ok(parsed) => parsed,
        Err(failure) => return fail(failure),
    };
    let loops = matches!(&cli.command, cli::Command::Sync(args) if args.loops);
    let cli::GlobalArgs { verbosity, log_format, color, .. } = cli.global;
    telemetry::install(verbosity, log_format, loops);
    let panics = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        ui::leave_terminal();
        panics(panic);
    }));
    let ui = Ui::terminal(color);
    let ui = Arc::new(if loops { ui.into_log() } else { ui });
    for variable in ignored {
        if let Some(instead) = settings::instead_of(&variable) {
            ui.warning(&format!("{variable} is set, but this version cannot honour it: {instead}"));
        } else {
            tracing::info!("ignored environment variable {variable}");
        }
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Error::new(Exit::Failed, format!("cannot start: {error}")).into()),
    };
    let outcome = runtime.block_on(async {
        signal::listen(ui::leave_terminal)
            .map_err(|error| Error::new(Exit::Failed, format!("cannot listen for signals: {error}")))?;
        Box::pin(command::run(cli, ui.clone())).await
    });
    // A parser that still waits for an answer must not keep the process.
    runtime.shutdown_background();
    let outcome = match (outcome, ui.unwritten()) {
        (Ok(Exit::Done | Exit::Pending), Some(error)) => Err(error),
        (outcome, _) => outcome,
    };
    outcome.unwrap_or_else(|error| {
        // What is wrong with the command line is for whoever typed it.
        let is_typed = error.exit == Exit::Usage && log_format == cli::LogFormat::Text;
        if is_typed {
            Ui::terminal(color).error(&error);
        } else {
            ui.error(&error);
        }
        error.exit
    })
}

fn fail(failure: Failure) -> Exit {
    match failure {
        Failure::Clap(error) => {
            // Help goes to stdout and is no failure; a closed pipe is none either.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Done }
        }
        Failure::Settings(error) => {
            Ui::terminal(cli::Color::Auto).error(&error);
            error.exit
        }
    }
}
