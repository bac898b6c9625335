//! A real sshd, whose every login runs on the double of a machine.

use std::path::Path;
use std::process::Command;

use sciuro::remedy::reboot::ssh::{OPTIONS, SshOptions};
use sciuro::remedy::reboot::{self, Address, Issued, Probed, Reboot, RebootError};

use super::{Peer, listens, on_a_free_port, program};
use crate::reboot::machine::Machine;
use crate::reboot::{ID, OTHER_BOOT, target};
use crate::support::World;

/// A machine with an sshd in front of it, and somebody whose ssh knows both.
struct Host {
    machine: Machine,
    world: World,
    port: u16,
    _sshd: Peer,
}

fn at(address: &str) -> Address {
    Address { text: address.into(), is_told: true }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

impl Host {
    fn start() -> Self {
        let machine = Machine::new();
        let path = |name: &str| machine.path(name).display().to_string();
        keygen(&machine.path("host"));
        keygen(&machine.path("key"));
        // For a test that runs as root, see tests/machines-peers.
        machine.write("passwd", "sciuro:x:4242:4242::/:/bin/sh\n");
        machine.write("group", "sciuro:x:4242:\n");
        let start = |port: u16| {
            let config = [
                format!("Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none", path("host")),
                format!("AuthorizedKeysFile {}\nStrictModes no\nPasswordAuthentication no", path("key.pub")),
                format!("KbdInteractiveAuthentication no\nForceCommand {}\nAcceptEnv *\n", path("login")),
            ];
            machine.write("sshd_config", &config.join("\n"));
            let mut sshd = Command::new(program("sshd"));
            sshd.args(["-D", "-e", "-f", &path("sshd_config")])
                .env("NSS_WRAPPER_PASSWD", path("passwd"))
                .env("NSS_WRAPPER_GROUP", path("group"));
            Peer::start(&mut sshd, machine.path("sshd.log"))
        };
        let (sshd, port) = on_a_free_port(start, listens);
        let this = Self { world: World::sandbox(), port, _sshd: sshd, machine };
        this.knows("host");
        let id = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let user = if id.trim() == "root" { "sciuro" } else { id.trim() };
        let path = |name: &str| this.machine.path(name).display().to_string();
        this.machine.write(
            "ssh_config",
            &format!(
                "Host 127.0.0.1\n Port {port}\n User {user}\n IdentityFile {}\n IdentitiesOnly yes\n \
                 UserKnownHostsFile {}\n GlobalKnownHostsFile none\n",
                path("key"),
                path("known_hosts")
            ),
        );
        this
    }

    /// The host key that its user has noted is this one.
    fn knows(&self, key: &str) {
        let key = std::fs::read_to_string(self.machine.path(&format!("{key}.pub"))).unwrap();
        self.machine.write("known_hosts", &format!("[127.0.0.1]:{} {key}", self.port));
    }

    fn reboot(&self) -> Reboot {
        Reboot::Ssh(SshOptions { address: at("127.0.0.1"), config: Some(self.machine.path("ssh_config")) })
    }

    fn probe(&self) -> Result<Probed, RebootError> {
        let cluster = self.world.cluster(None);
        let probed = self.world.block_on(reboot::probe(&self.reboot(), &target(&cluster, "w1", ID)));
        probed.map(|probed| probed.expect("an answer"))
    }

    fn issue(&self, boot_id: &str, not_after: u64) -> Result<Issued, RebootError> {
        let cluster = self.world.cluster(None);
        let target = target(&cluster, "w1", ID);
        self.world.block_on(reboot::issue(&self.reboot(), &target, 1, boot_id, Some(not_after)))
    }
}

#[test]
fn the_machine_is_probed_and_rebooted_once() {
    let host = Host::start();
    let before = host.machine.boot_id();
    assert_eq!(host.probe(), Ok(Probed { boot_id: before.clone(), uptime: 86_400 }));
    assert_eq!(host.machine.restarts(), 0, "a probe is no order");
    assert_eq!(host.issue(&before, 86_520), Ok(Issued { output: String::new() }));
    assert_eq!(host.machine.restarts(), 1);
    assert_ne!(host.machine.boot_id(), before);

    let again = host.issue(&before, 86_520).unwrap_err();
    assert!(again.other_boot && again.why.contains(&host.machine.boot_id()), "{again:?}");
    assert_eq!(host.machine.restarts(), 1, "an order that is sent again does nothing");
}

#[test]
fn another_machine_and_a_late_order_do_nothing() {
    let host = Host::start();
    assert!(host.issue(OTHER_BOOT, 86_520).unwrap_err().other_boot);
    let late = host.issue(&host.machine.boot_id(), 86_399).unwrap_err();
    assert!(!late.other_boot && late.why.contains("too late 86400"), "{late:?}");
    assert_eq!(host.machine.restarts(), 0);
}

#[test]
fn a_host_key_that_is_not_known_is_refused() {
    let host = Host::start();
    host.machine.write("known_hosts", "");
    for error in [host.probe().unwrap_err(), host.issue(&host.machine.boot_id(), 86_520).unwrap_err()] {
        assert_eq!(error.why, "ssh 127.0.0.1: its host key is not known");
    }
    host.knows("key"); // not the host's
    let changed = host.issue(&host.machine.boot_id(), 86_520).unwrap_err();
    assert_eq!(changed.why, "ssh 127.0.0.1: its host key is not the one that is known");
    assert_eq!(host.machine.restarts(), 0);
}

#[test]
fn somebody_who_may_not_log_in() {
    let host = Host::start();
    let other = host.machine.path("other");
    keygen(&other);
    std::fs::rename(&other, host.machine.path("key")).unwrap();
    let error = host.probe().unwrap_err();
    assert!(error.why.contains("Permission denied"), "{error:?}");
    assert!(error.hints.iter().any(|hint| hint.contains("ssh-add")), "{error:?}");
}

#[test]
fn sudo_that_asks_for_a_password_is_found_out_by_the_probe() {
    let host = Host::start();
    host.machine.write("uid", "1000\n");
    let before = host.machine.boot_id();
    assert!(host.probe().is_ok());
    host.machine.write("sudo-asks", "");
    assert!(host.probe().unwrap_err().why.contains("no right to use it"));
    let error = host.issue(&before, 86_520).unwrap_err();
    assert!(error.why.contains("sudo: a password is required"), "{error:?}");
    assert!(error.hints.iter().any(|hint| hint.contains("without a password")), "{error:?}");
    assert_eq!(host.machine.restarts(), 0);

    std::fs::remove_file(host.machine.path("sudo-asks")).unwrap();
    assert!(host.issue(&before, 86_520).is_ok());
    assert_eq!(host.machine.restarts(), 1);
}

#[test]
fn a_login_that_runs_nothing_has_not_issued_anything() {
    let host = Host::start();
    host.machine.write("mute", "");
    let error = host.issue(&host.machine.boot_id(), 86_520).unwrap_err();
    assert_eq!(error.why, "ssh 127.0.0.1: the guard did not answer (exit 0): it said nothing");
}

#[test]
fn a_machine_that_is_off() {
    let Host { machine, world, port: _, _sshd: sshd } = Host::start();
    drop(sshd);
    let config = Some(machine.path("ssh_config"));
    let reboot = Reboot::Ssh(SshOptions { address: at("127.0.0.1"), config });
    let cluster = world.cluster(None);
    let error = world.block_on(reboot::probe(&reboot, &target(&cluster, "w1", ID))).unwrap_err();
    assert!(error.why.contains("Connection refused"), "{error:?}");
}

/// Whatever a configuration gives to machines that are logged in to.
const GENEROUS: &str = "
ForwardAgent yes
ForwardX11 yes
NoHostAuthenticationForLocalhost yes
ForwardX11Trusted yes
GSSAPIDelegateCredentials yes
SendEnv CARGO* R?ST_BACKTRACE HOME
SetEnv LEAK=1
PermitLocalCommand yes
LocalCommand touch local-command
RemoteCommand reboot
RequestTTY force
Tunnel yes
LocalForward 127.0.0.1:8000 127.0.0.1:80
RemoteForward 9000 127.0.0.1:90
DynamicForward 127.0.0.1:1080
ControlMaster auto
ControlPath control-socket
ControlPersist yes
StrictHostKeyChecking no
";

#[test]
fn f9_b8_the_machine_gets_nothing_of_ours() {
    let host = Host::start();
    let config = host.machine.path("ssh_config");
    let ours = std::fs::read_to_string(&config).unwrap();
    let here = host.machine.path("").display().to_string();
    let generous = GENEROUS.replace("local-command", &format!("{here}/local-command"));
    host.machine
        .write("ssh_config", &(ours + &generous.replace("control-socket", &format!("{here}/control"))));
    std::fs::rename(host.machine.path("login"), host.machine.path("old")).unwrap();
    host.machine.script("login", "/usr/bin/env > environment; exec ./old");

    let before = host.machine.boot_id();
    assert_eq!(host.probe(), Ok(Probed { boot_id: before.clone(), uptime: 86_400 }));
    let got = std::fs::read_to_string(host.machine.path("environment")).unwrap();
    let has = |name: &str| got.lines().any(|line| line.starts_with(name));
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")), "there is something to send");
    for name in ["CARGO", "RUST_BACKTRACE", "LEAK", "SSH_AUTH_SOCK", "DISPLAY"] {
        assert!(!has(name), "{name}: {got}");
    }
    for left in ["local-command", "control"] {
        assert!(!host.machine.path(left).exists(), "{left}");
    }

    // As ssh itself understands it.
    let effective =
        Command::new("ssh").arg("-F").arg(&config).args(OPTIONS).args(["-G", "127.0.0.1"]).output();
    let effective = String::from_utf8(effective.unwrap().stdout).unwrap();
    let set = |name: &str| -> Vec<&str> {
        effective.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect()
    };
    for (name, value) in [
        ("forwardagent", &["no"][..]),
        ("forwardx11", &["no"]),
        ("forwardx11trusted", &["no"]),
        ("gssapidelegatecredentials", &["no"]),
        ("permitlocalcommand", &["no"]),
        ("remotecommand", &[]),
        ("requesttty", &["false"]),
        ("tunnel", &["false"]),
        ("nohostauthenticationforlocalhost", &["no"]),
        ("localforward", &[]),
        ("remoteforward", &[]),
        ("dynamicforward", &[]),
        ("controlmaster", &["false"]),
        ("controlpath", &[]),
        ("stricthostkeychecking", &["true"]),
        ("setenv", &["SCIURO=1"]),
        ("batchmode", &["yes"]),
    ] {
        assert_eq!(set(name), value, "{name}");
    }

    // Nor is a host key believed because the configuration says so.
    host.machine.write("known_hosts", "");
    assert_eq!(host.probe().unwrap_err().why, "ssh 127.0.0.1: its host key is not known");
}
