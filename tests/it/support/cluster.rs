//! A real control plane of a test's own, whose API server it may kill.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Stopped when dropped.
pub struct Cluster {
    directory: TempDir,
    /// The API server, once this has started it anew.
    server: Option<Child>,
    /// How it was started.
    command_line: Vec<String>,
}

impl Cluster {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut this = Self { directory, server: None, command_line: Vec::new() };
        let up = this.script("up").args(["--nodes", "0"]).output().expect("tests/cluster/up");
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        let command_line = std::fs::read(format!("/proc/{}/cmdline", this.first_pid())).expect("a process");
        let arguments = command_line.split(|byte| *byte == 0).filter(|argument| !argument.is_empty());
        this.command_line =
            arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
        this
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("cluster")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.root().join("kubeconfig")
    }

    /// What the API server has logged of requests, all lines of it that are complete.
    pub fn audit_log(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.root().join("audit.log")).expect("an audit log");
        // A server that is killed may leave a line without an end.
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// As a machine that fails takes it away.
    pub fn kill_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("a process to kill");
            server.wait().expect("its end");
            return;
        }
        let pid = self.first_pid();
        let killed = Command::new("kill").args(["-KILL", &pid]).status();
        assert!(killed.expect("kill").success());
        let deadline = Instant::now() + Duration::from_secs(10);
        // Of a zombie, which stays where nobody reaps it, the command line is empty.
        while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn start_server(&mut self) {
        let log = std::fs::File::create(self.root().join("log/kube-apiserver-again.log")).expect("a file");
        let server = Command::new(&self.command_line[0])
            .args(&self.command_line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.server = Some(server.expect("an API server"));
    }

    fn first_pid(&self) -> String {
        let record = std::fs::read_to_string(self.root().join("pid/kube-apiserver")).expect("a pid");
        record.split_whitespace().next().expect("a pid").to_owned()
    }

    fn script(&self, name: &str) -> Command {
        let mut command =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name));
        command.arg("--dir").arg(self.root());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ended = server.kill().and_then(|()| server.wait());
        }
        let _stopped = self.script("down").output();
    }
}
