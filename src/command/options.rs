//! `kubectl sciuro options`: the flags that every command takes.

use clap::Args;

use crate::cli::GlobalArgs;
use crate::error::Exit;
use crate::ui::Ui;

pub(super) fn run(ui: &Ui) -> Exit {
    let flags = GlobalArgs::augment_args(clap::Command::new("options").disable_help_flag(true))
        .mut_args(|flag| flag.hide(false))
        .help_template("The following flags can be passed to every command:\n\n{options}")
        .render_long_help();
    ui.document(&flags.to_string());
    Exit::Done
}
