//! Completion by the programs that people use: kubectl, bash, zsh and fish. `make test` puts them on PATH.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use rexpect::session::{PtySession, spawn_command};
use tempfile::TempDir;

use crate::support::{Run, World, command, run};

/// A folder of PATH with the plugin, installed as its README says.
struct Installed<'w> {
    world: &'w World,
    folder: TempDir,
}

impl<'w> Installed<'w> {
    fn new(world: &'w World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("kubectl-sciuro");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubectl-sciuro"), program).unwrap();
        Self { world, folder }
    }

    fn command(&self, program: &str) -> Command {
        let found =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(
            !found.is_err_and(|error| error.kind() == ErrorKind::NotFound),
            "{program} is not on PATH: this test needs it, and `make test` finds it or puts it there"
        );
        let mut path = OsString::from(self.folder.path());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.world.kubeconfig())
            .env_remove("SCIURO_CONFIG")
            .stdin(Stdio::null());
        command
    }

    fn kubectl(&self, arguments: &[&str]) -> Run {
        run(self.command("kubectl").args(arguments)).exits(0)
    }

    /// The script of a shell, where the shell can read it.
    fn script(&self, shell: &str) -> String {
        let script = run(&mut command(["completion", shell])).exits(0).stdout;
        self.world.file(shell, &script).to_str().unwrap().to_owned()
    }
}

/// What kubectl hands to a shell.
#[track_caller]
fn offered(run: &Run) -> Vec<&str> {
    let lines: Vec<&str> = run.stdout.lines().collect();
    let (directive, names) = lines.split_last().expect("a directive");
    assert_eq!(*directive, ":4", "{run:#?}");
    names.to_vec()
}

/// Types words and TAB in a shell that runs in a terminal, and reads what the line has become.
#[track_caller]
fn completes(shell: &mut PtySession, typed: &str, becomes: &str) {
    shell.send(&format!("{typed}\t")).unwrap();
    shell.flush().unwrap();
    // The dot shows whether there is a space. O''UT is how what is printed is told from what is typed.
    shell.send(".\u{1}echo O''UT \r").unwrap();
    shell.flush().unwrap();
    let (before, line) = shell
        .exp_regex("OUT [^\r\n]*\\.[\r\n]")
        .unwrap_or_else(|error| panic!("{typed:?} does not become {becomes:?}: {error}"));
    assert_eq!(line.trim_end(), format!("OUT {becomes}."), "after {before:?}");
}

mod control_plane {
    use super::*;

    #[test]
    fn kubectl() {
        let world = World::control_plane();
        let nodes = world.nodes(&["w1", "w2"]);
        world.seed(&nodes[0], "Hot", "True", "[P1]", jiff::SignedDuration::from_mins(1));
        let installed = Installed::new(&world);
        installed.kubectl(&["sciuro", "completion", "kubectl", "--install"]).never_says("Warning");

        let complete = |words: &[&str]| installed.kubectl(&[&["__complete", "sciuro"], words].concat());
        let all = complete(&["status", ""]);
        assert!(nodes.iter().all(|node| offered(&all).contains(&node.as_str())), "{all:#?}");
        assert_eq!(offered(&complete(&["status", &world.name("w")])), nodes);
        assert_eq!(offered(&complete(&["status", &nodes[0], &world.name("w")])), nodes[1..]);
        let conditions = complete(&["status", "--condition", ""]);
        for expected in ["Ready", &world.condition_type("Hot")] {
            assert!(offered(&conditions).contains(&expected), "{conditions:#?}");
        }
        let contexts = installed.kubectl(&["config", "get-contexts", "-o", "name"]);
        let contexts: Vec<&str> = contexts.stdout.lines().collect();
        assert!(!contexts.is_empty());
        assert_eq!(offered(&complete(&["status", "--context", ""])), contexts);
        assert_eq!(offered(&complete(&["status", "--context="])), contexts);
        assert!(offered(&complete(&["status", "-n", ""])).contains(&"kube-system"));
        assert!(offered(&complete(&[""])).iter().any(|line| line.starts_with("status\t")));
    }

    #[test]
    fn bash() {
        let world = World::control_plane();
        let node = world.node("w1");
        let installed = Installed::new(&world);
        let script = installed.script("bash");
        let mut command = installed.command("bash");
        command.args(["--noprofile", "--norc", "-i"]).stdin(Stdio::inherit());
        let mut shell = spawn_command(command, Some(15_000)).unwrap();
        shell
            .send_line(&format!("PS1=; TERM=dumb; bind 'set enable-bracketed-paste off'; . {script}"))
            .unwrap();
        lines(&mut shell, &world, &node);
    }

    #[test]
    fn zsh() {
        let world = World::control_plane();
        let node = world.node("w1");
        let installed = Installed::new(&world);
        let script = installed.script("zsh");
        // Read by autoload from fpath, and by source.
        for read in [
            format!(
                "ln -s {script} $HOME/_kubectl-sciuro; fpath+=($HOME); autoload -U compinit; compinit -D -u"
            ),
            format!("autoload -U compinit; compinit -D -u; source {script}"),
        ] {
            let mut shell = in_zsh(&installed, &read);
            lines(&mut shell, &world, &node);
        }
    }

    /// kubectl's own script, and what it makes of our answers.
    #[test]
    fn zsh_by_kubectls_script() {
        let world = World::control_plane();
        let node = world.node("w1");
        let installed = Installed::new(&world);
        installed.kubectl(&["sciuro", "completion", "kubectl", "--install"]);
        let mut shell =
            in_zsh(&installed, "autoload -U compinit; compinit -D -u; source <(kubectl completion zsh)");
        let w = world.name("w");
        completes(
            &mut shell,
            &format!("kubectl sciuro status {w}"),
            &format!("kubectl sciuro status {node} "),
        );
        completes(&mut shell, "kubectl sciuro stat", "kubectl sciuro status ");
        completes(&mut shell, "kubectl sciuro status -n=kube-sy", "kubectl sciuro status -n=kube-system ");
        shell.send_line("exit").unwrap();
        shell.exp_eof().unwrap();
    }

    fn in_zsh(installed: &Installed, setup: &str) -> PtySession {
        let mut command = installed.command("zsh");
        command.args(["-f", "-i"]).env("TERM", "dumb").stdin(Stdio::inherit());
        let mut shell = spawn_command(command, Some(15_000)).unwrap();
        // ZSH_MODULES: where tests/shells has unpacked them.
        let modules = "[[ -n $ZSH_MODULES ]] && module_path=($ZSH_MODULES)";
        shell.send_line(&format!("{modules}; bindkey -e; ZLE_REMOVE_SUFFIX_CHARS=; {setup}; PS1=")).unwrap();
        shell
    }

    fn lines(shell: &mut PtySession, world: &World, node: &str) {
        completes(
            shell,
            &format!("kubectl-sciuro status {}", world.name("w")),
            &format!("kubectl-sciuro status {node} "),
        );
        completes(shell, "kubectl-sciuro stat", "kubectl-sciuro status ");
        completes(shell, "kubectl-sciuro sync --dry-run=ser", "kubectl-sciuro sync --dry-run=server ");
        completes(shell, "kubectl-sciuro status -n kube-sy", "kubectl-sciuro status -n kube-system ");
        let kubeconfig = world.file(
            "arn",
            "{kind: Config, apiVersion: v1, current-context: '', contexts: [{name: 'arn:aws:x/one', context: {cluster: c}}]}",
        );
        let kubeconfig = kubeconfig.to_str().unwrap();
        // A folder goes on, so there is no space after it.
        let (folder, _) = kubeconfig.rsplit_once('/').unwrap();
        let line = format!("kubectl-sciuro status --kubeconfig={folder}");
        completes(shell, &line, &format!("{line}/"));
        for context in ["--context=", "--context "] {
            for typed in ["", "arn:a"] {
                let line = format!("kubectl-sciuro status --kubeconfig={kubeconfig} {context}");
                completes(shell, &format!("{line}{typed}"), &format!("{line}arn:aws:x/one "));
            }
        }
        shell.send_line("exit").unwrap();
        shell.exp_eof().unwrap();
    }

    #[test]
    fn fish() {
        let world = World::control_plane();
        let node = world.node("w1");
        let installed = Installed::new(&world);
        let script = installed.script("fish");
        let complete = |line: &str| {
            let commands = format!("source {script}; complete --do-complete '{line}'");
            run(installed.command("fish").args(["--no-config", "-c", &commands])).exits(0)
        };
        complete(&format!("kubectl-sciuro status {}", world.name("w"))).prints(&node);
        complete("kubectl-sciuro status -n kube-sy").prints("kube-system");
        complete("kubectl-sciuro sync --dry-run=ser").prints("--dry-run=server");
        let commands = complete("kubectl-sciuro stat").stdout;
        assert!(commands.starts_with("status\tShow the firing conditions"), "{commands}");
    }
}
