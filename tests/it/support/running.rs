//! The binary while it runs: what it prints is read as it comes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(40);

/// A run that has not ended, with its output in pipes.
pub struct Running {
    child: Child,
    output: Receiver<(Stream, String)>,
    /// What was printed so far.
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
    /// So many lines of stdout were asked for.
    taken: usize,
    tidy: Box<dyn Fn(&str) -> String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

impl Running {
    pub fn start(command: &mut Command, tidy: impl Fn(&str) -> String + 'static) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let (sender, output) = channel();
        let stdout: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("a pipe"));
        let stderr: Box<dyn Read + Send> = Box::new(child.stderr.take().expect("a pipe"));
        for (stream, pipe) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _nobody_waits = sender.send((stream, line));
                }
            });
        }
        Self { child, output, stdout: Vec::new(), stderr: Vec::new(), taken: 0, tidy: Box::new(tidy) }
    }

    /// The same with stdout in the caller's hands.
    pub fn with_stdout(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        (child, stdout)
    }

    /// The next line of stdout, with single spaces.
    #[track_caller]
    pub fn row(&mut self) -> String {
        self.taken += 1;
        self.wait(|this| this.stdout.len() >= this.taken);
        self.stdout[self.taken - 1].clone()
    }

    /// Waits for a line on stdout that is like this.
    #[track_caller]
    pub fn prints(&mut self, is_meant: impl Fn(&str) -> bool) {
        self.wait(|this| this.stdout.iter().any(|line| is_meant(line)));
    }

    /// Waits for a line on stderr with this in it.
    #[track_caller]
    pub fn says(&mut self, part: &str) {
        self.wait(|this| this.stderr.iter().any(|line| line.contains(part)));
    }

    /// Waits until what was printed comes to this.
    #[track_caller]
    pub fn comes_to(&mut self, expected: &[String], sum: impl Fn(&[String]) -> Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        while sum(&self.stdout) != expected {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok((stream, line)) => self.keep(stream, &line),
                Err(_) => assert_eq!(sum(&self.stdout), expected, "and no more is printed"),
            }
        }
        self.taken = self.stdout.len();
    }

    #[track_caller]
    fn wait(&mut self, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((stream, line)) = self.output.recv_timeout(left) else {
                panic!("nothing more in time after {:#?} and {:#?}", self.stdout, self.stderr)
            };
            self.keep(stream, &line);
        }
    }

    fn keep(&mut self, stream: Stream, line: &str) {
        let line = (self.tidy)(line).split_whitespace().collect::<Vec<_>>().join(" ");
        match stream {
            Stream::Stdout => self.stdout.push(line),
            Stream::Stderr => self.stderr.push(line),
        }
    }

    /// Ctrl-C, then all that was printed.
    #[track_caller]
    pub fn interrupt(mut self) -> (Vec<String>, Vec<String>) {
        self.signal("INT");
        self.ends(130)
    }

    pub fn signal(&self, name: &str) {
        let killed = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(killed.expect("kill").success());
    }

    /// It gets no chance to say or do anything any more.
    pub fn kill(mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("an end");
    }

    #[track_caller]
    pub fn ends(&mut self, code: i32) -> (Vec<String>, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok((stream, line)) =
            self.output.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.keep(stream, &line);
        }
        if Instant::now() >= deadline {
            let _ended = self.child.kill(); // and say below how far it came
        }
        let exit = self.child.wait().expect("an exit code").code();
        assert_eq!(exit, Some(code), "{:#?} {:#?}", self.stdout, self.stderr);
        (std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr))
    }
}

/// A test that fails must not leave a process that waits for ever.
impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
