//! Files that say what is run or whom we speak to. Whoever can write to one acts as us, so one that others can write to is
//! refused, as ssh refuses its configuration.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::Error;

/// Opens a file that nobody but its owner can write to, and that is ours or root's.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;

        // Of what was opened, not of what has the name by now.
        let metadata = file.metadata()?;
        let us = rustix::process::geteuid().as_raw();
        if let Some(why) = refusal(metadata.uid(), metadata.mode() & 0o7777, us) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
    }
    Ok(file)
}

/// Why a file cannot be used: `cannot read the configuration file`, or another that `what` says.
pub(crate) fn unread(what: &str, path: &Path, error: &io::Error) -> Error {
    let unread = Error::usage(format!("{what} {}: {error}", path.display()));
    let is_refused = error.kind() == io::ErrorKind::PermissionDenied && error.get_ref().is_some();
    if is_refused { unread.hint(format!("ls -l {0}; chmod go-w {0}", path.display())) } else { unread }
}

#[cfg(unix)]
fn refusal(owner: u32, mode: u32, us: u32) -> Option<String> {
    let facts = format!("its owner is uid {owner}, its mode {mode:04o}");
    if owner != us && owner != 0 {
        Some(format!("it belongs to another user ({facts}, and we are uid {us})"))
    } else if mode & 0o022 != 0 {
        Some(format!("others can write to it ({facts})"))
    } else {
        None
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::refusal;

    #[test]
    fn t15_e8_only_its_owner_may_write() {
        for (owner, mode, us, is_refused) in [
            (1000, 0o600, 1000, false),
            (1000, 0o644, 1000, false),
            (1000, 0o755, 1000, false),
            (0, 0o444, 1000, false),
            (0, 0o644, 0, false),
            (1000, 0o664, 1000, true),
            (1000, 0o602, 1000, true),
            (0, 0o666, 1000, true),
            (0, 0o620, 0, true),
            (1001, 0o600, 1000, true),
            (1001, 0o444, 0, true),
        ] {
            assert_eq!(refusal(owner, mode, us).is_some(), is_refused, "{owner} {mode:o} {us}");
        }
        let why = refusal(7, 0o666, 7);
        assert_eq!(why.as_deref(), Some("others can write to it (its owner is uid 7, its mode 0666)"));
    }
}
