//! A session on a terminal that can go away at any moment, as that of ssh does.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

pub struct Session {
    child: Child,
    /// The near end of the terminal, which is read as long as this is not set.
    is_over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    /// `command` on a terminal of its own: what goes nowhere else is shown there, and there is somebody to ask.
    pub fn start(command: &Command, stdout: Stdio) -> Self {
        let near =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&near).and_then(|()| unlockpt(&near)).expect("a terminal");
        let name = ptsname(&near, Vec::new()).expect("its name").into_string().expect("UTF-8");
        let far = OpenOptions::new().read(true).write(true).open(name).expect("its far end");
        // A session whose terminal this is; it becomes the program.
        let mut session = Command::new("setsid");
        // Whoever runs the tests may be under nohup: who inherits that is to go on.
        session
            .args(["--ctty", "env", "--default-signal=HUP"])
            .arg(command.get_program())
            .args(command.get_args())
            .env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        let end = || Stdio::from(far.try_clone().expect("a descriptor"));
        let child = session.stdin(end()).stderr(end()).stdout(stdout).spawn().expect("the binary starts");
        rustix::io::ioctl_fionbio(&near, true).expect("a terminal");
        let is_over = Arc::new(AtomicBool::new(false));
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut near, over, all) = (File::from(near), is_over.clone(), shown.clone());
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while !over.load(Ordering::Relaxed) {
                match near.read(&mut piece) {
                    Ok(length) => all.lock().expect("a lock").extend_from_slice(&piece[..length]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    Err(_) => break, // the far end was closed by all who had it
                }
            }
        });
        Self { child, is_over, reader: Some(reader), shown }
    }

    /// Waits until this is on the terminal.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let shown = String::from_utf8_lossy(&self.shown.lock().expect("a lock")).into_owned();
            if shown.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "no {text:?} in {shown}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The terminal goes away, without a word to the program but the kernel's signal.
    pub fn dies(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.reader.take().expect("a terminal").join().expect("it is closed");
    }

    pub fn signal(&self, name: &str) {
        let killed = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(killed.expect("kill").success());
    }

    /// The exit code; `None` if a signal has ended it.
    pub fn ends(mut self) -> Option<i32> {
        self.child.wait().expect("an end").code()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
