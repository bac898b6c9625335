//! `kubectl sciuro completion`: scripts for shells, and the link by which kubectl asks.

use std::io::ErrorKind;
use std::path::{Path, PathBuf, absolute};

use clap::CommandFactory;

use crate::cli::{Cli, Completes, CompletionArgs};
use crate::complete::KUBECTLS_NAME;
use crate::error::{Error, Exit, Result};
use crate::ui::Ui;

const NAME: &str = "kubectl-sciuro";

const FOR_KUBECTL: &str = "\
kubectl 1.26 and later completes `kubectl sciuro`, with names from the cluster, if
  1. its own completion is set up: kubectl completion --help
  2. it finds kubectl_complete-sciuro on PATH, which is kubectl-sciuro under another name:

     kubectl sciuro completion kubectl --install

     makes that link beside kubectl-sciuro, and with --dir DIR in a folder of PATH that you may write;
     --uninstall removes it.";

pub(super) fn run(args: &CompletionArgs, ui: &Ui) -> Result<Exit> {
    let is_about_link = args.install || args.uninstall;
    if is_about_link && args.completes != Completes::Kubectl {
        return Err(Error::usage("--install makes the link for kubectl; a shell's script is printed only")
            .hint("kubectl sciuro completion kubectl --install"));
    }
    if args.dir.is_some() && !is_about_link {
        return Err(Error::usage("--dir says where --install makes the link, or --uninstall removes it"));
    }
    match args.completes {
        Completes::Bash => ui.document(include_str!("../../completions/kubectl-sciuro.bash")),
        Completes::Zsh => ui.document(include_str!("../../completions/_kubectl-sciuro")),
        Completes::Fish => ui.document(include_str!("../../completions/kubectl-sciuro.fish")),
        Completes::Powershell => ui.document(&powershell()),
        Completes::Kubectl if args.install => install(args.dir.as_deref(), ui)?,
        Completes::Kubectl if args.uninstall => uninstall(args.dir.as_deref(), ui)?,
        Completes::Kubectl => ui.document(FOR_KUBECTL),
    }
    Ok(Exit::Done)
}

/// The one script that knows commands and flags only, and asks no cluster.
fn powershell() -> String {
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::PowerShell, &mut Cli::command(), NAME, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Where the link is or goes, and what it links to.
struct Link {
    folder: PathBuf,
    path: PathBuf,
    program: PathBuf,
    beside: bool,
}

impl Link {
    fn new(folder: Option<&Path>) -> Result<Self> {
        let program = own_path()?;
        let own = program.parent().unwrap_or(Path::new("/"));
        let folder = match folder {
            Some(folder) => absolute(folder).map_err(|error| refused(folder, &error))?,
            None => own.to_owned(),
        };
        let path = folder.join(format!("{KUBECTLS_NAME}{}", std::env::consts::EXE_SUFFIX));
        Ok(Self { beside: folder == own, folder, path, program })
    }
}

/// Only what `install` made: a file that somebody else put there stays.
fn uninstall(folder: Option<&Path>, ui: &Ui) -> Result<()> {
    let Link { path, program, .. } = Link::new(folder)?;
    if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        ui.result(&format!("{} is not there", path.display()));
        return Ok(());
    }
    if !is_same(&path, &program) {
        let line = format!("{} is not a link to {}, so it stays", path.display(), program.display());
        return Err(Error::new(Exit::Failed, line));
    }
    std::fs::remove_file(&path).map_err(|error| {
        Error::new(Exit::Failed, format!("cannot remove the link {}: {error}", path.display()))
    })?;
    ui.result(&format!("{} removed", path.display()));
    Ok(())
}

fn install(folder: Option<&Path>, ui: &Ui) -> Result<()> {
    let Link { folder, path: link, program, beside } = Link::new(folder)?;
    // Relative beside the program, so that both can be moved.
    let target = program.file_name().map(Path::new).filter(|_| beside).unwrap_or(&program);
    match make_link(target, &link) {
        Ok(()) => ui.result(&format!("{} created", link.display())),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if !is_same(&link, &program) {
                return Err(Error::new(
                    Exit::Failed,
                    format!(
                        "{} is there already, and is not a link to {}",
                        link.display(),
                        program.display()
                    ),
                )
                .hint("remove it, or choose another folder of PATH with --dir DIR"));
            }
            ui.result(&format!("{} unchanged", link.display()));
        }
        Err(error) => return Err(refused(&link, &error)),
    }
    if !on_path().any(|known| known == folder) {
        ui.warning(&format!("{} is not on PATH, so kubectl does not find the link", folder.display()));
    }
    Ok(())
}

#[cfg(unix)]
fn make_link(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Symbolic links need a privilege on Windows.
#[cfg(not(unix))]
fn make_link(target: &Path, link: &Path) -> std::io::Result<()> {
    let folder = link.parent().unwrap_or(Path::new(""));
    std::fs::hard_link(folder.join(target), link)
}

#[cfg(unix)]
fn is_same(link: &Path, program: &Path) -> bool {
    link.canonicalize().ok().is_some_and(|found| program.canonicalize().is_ok_and(|ours| ours == found))
}

#[cfg(not(unix))]
fn is_same(link: &Path, program: &Path) -> bool {
    std::fs::read(link).ok().is_some_and(|found| std::fs::read(program).is_ok_and(|ours| ours == found))
}

fn refused(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Exit::Failed, format!("cannot make the link {}: {error}", path.display())).hint(
        "kubectl sciuro completion kubectl --install --dir DIR, with a folder of PATH that you may write",
    )
}

/// The path under which we were called, and not what it links to: a package manager replaces the latter.
fn own_path() -> Result<PathBuf> {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let path = if called.components().count() > 1 {
        absolute(called)
    } else {
        let file = format!("{NAME}{}", std::env::consts::EXE_SUFFIX);
        on_path()
            .map(|folder| folder.join(&file))
            .find(|path| path.is_file())
            .map_or_else(std::env::current_exe, Ok)
    };
    path.map_err(|error| Error::new(Exit::Failed, format!("cannot tell where kubectl-sciuro is: {error}")))
}

fn on_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter_map(|folder| absolute(folder).ok()).collect::<Vec<_>>().into_iter()
}
