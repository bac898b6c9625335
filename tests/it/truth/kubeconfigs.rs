//! The same files through kubectl and through us: the same server is reached as the same user, or neither reaches any.
//!
//! On the sandbox what we do is compared with what the table says, on the real control plane what the real kubectl does.

mod cases;
mod fields;
mod keys;
mod plugins;
mod secrets;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use ::sandbox::{ApiServer, Authority, Front, Identity, Request};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use self::cases::Case;
use self::secrets::shown_in;
use crate::support::{command, run};

/// Servers to be reached, each with a way of its own.
pub(super) struct Servers {
    apis: BTreeMap<&'static str, ApiServer>,
    _fronts: Vec<Front>,
    /// What stands in braces in a file, such as `{tls}`.
    words: BTreeMap<&'static str, String>,
}

impl Servers {
    fn start() -> Self {
        let ca = Authority::new("servers");
        let clients = Authority::new("clients");
        let server = ca.issue(&["127.0.0.1", "localhost"]);
        let named = ca.issue(&["api.example"]);
        let pinned = Identity::self_signed(&["127.0.0.1"], 2100);
        let pinned_elsewhere = Identity::self_signed(&["10.0.0.1"], 2100);
        let pinned_once = Identity::self_signed(&["127.0.0.1"], 2020);
        let client = clients.client("client", "group", std::time::Duration::from_secs(3600));
        let other = clients.client("other", "group", std::time::Duration::from_secs(3600));
        let names = ["plain", "other", "tls", "mtls", "named", "pinned", "elsewhere", "once"];
        let apis: BTreeMap<_, _> =
            names.into_iter().map(|name| (name, ApiServer::start_blocking())).collect();
        let mut words = BTreeMap::new();
        for name in ["plain", "other"] {
            words.insert(name, apis[name].url().replace("http://", ""));
        }
        let port = words["plain"].rsplit(':').next().expect("a port").to_owned();
        words.insert("plain-port", port);
        let mut fronts = Vec::new();
        for (name, identity, clients) in [
            ("tls", &server, None),
            ("mtls", &server, Some(&clients)),
            ("named", &named, None),
            ("pinned", &pinned, None),
            ("elsewhere", &pinned_elsewhere, None),
            ("once", &pinned_once, None),
        ] {
            let front = Front::tls(&apis[name].url(), identity, clients);
            words.insert(name, front.address().to_string());
            fronts.push(front);
        }
        for keys::Key { words: (key, certificate), pkcs8, pem } in keys::KEYS {
            words.insert(key, pem.to_owned());
            words.insert(certificate, clients.certify("client", pkcs8));
        }
        for (name, pem) in [
            ("ca", &ca.certificate),
            ("cert", &client.certificate),
            ("key", &client.key),
            ("other-cert", &other.certificate),
            ("pinned-cert", &pinned.certificate),
            ("elsewhere-cert", &pinned_elsewhere.certificate),
            ("once-cert", &pinned_once.certificate),
        ] {
            words.insert(name, pem.clone());
        }
        for (name, of) in
            [("ca64", "ca"), ("cert64", "cert"), ("key64", "key"), ("other-cert64", "other-cert")]
        {
            words.insert(name, BASE64_STANDARD.encode(&words[of]));
        }
        for (name, of) in
            [("pinned64", "pinned-cert"), ("elsewhere64", "elsewhere-cert"), ("once64", "once-cert")]
        {
            words.insert(name, BASE64_STANDARD.encode(&words[of]));
        }
        // As they stand in a block of YAML and in a text of JSON.
        words.insert("ca64-lines", lines_of(&words["ca64"]));
        for (name, of) in [("cert-lines", "cert"), ("key-lines", "key")] {
            words.insert(name, words[of].replace('\n', "\\n"));
        }
        Self { apis, _fronts: fronts, words }
    }

    /// `text` with what stands in braces replaced.
    fn fill(&self, text: &str, folder: &Path) -> String {
        let folder = folder.to_str().expect("UTF-8");
        let all = self.words.iter().map(|(name, word)| (*name, word.as_str())).chain([("dir", folder)]);
        all.fold(text.to_owned(), |text, (name, word)| text.replace(&format!("{{{name}}}"), word))
    }

    /// Which server was asked since, and as whom.
    fn reached(&self) -> String {
        let mut all = Vec::new();
        for (name, api) in &self.apis {
            all.extend(api.requests().iter().map(|request| format!("{name}{}", asked(request))));
            api.forget_requests();
        }
        all.dedup();
        if all.is_empty() { "nobody".to_owned() } else { all.join(" ") }
    }
}

/// Of 64 characters each, below a key of YAML.
fn lines_of(base64: &str) -> String {
    let lines = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII"));
    lines.collect::<Vec<_>>().join("\n      ")
}

/// Path, credentials and impersonation.
fn asked(request: &Request) -> String {
    let is_told = |name: &str| name == "authorization" || name.starts_with("impersonate-");
    let told = request.headers.iter().filter(|(name, _)| is_told(name.as_str()));
    let mut told: Vec<_> = told.map(|(_, value)| format!(" [{}]", value.to_str().expect("text"))).collect();
    told.sort();
    format!("{}{}", request.path.strip_suffix("/version").unwrap_or(&request.path), told.concat())
}

/// Lets a program with this case's files, flags and environment loose.
fn prepare(program: &mut Command, case: &Case, servers: &Servers, folder: &Path) {
    let fill = |text: &str| servers.fill(text, folder);
    program.current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    match &case.kubeconfig {
        Some(list) => program.env("KUBECONFIG", fill(list)),
        None => program.env_remove("KUBECONFIG"),
    };
    program.args(case.flags.iter().map(|flag| fill(flag)));
}

fn write_files(case: &Case, servers: &Servers, folder: &Path) {
    for (name, content) in &case.files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let content = case.encoding.encode(&servers.fill(content, folder));
        std::fs::write(&path, content).expect("a file");
        if content_is_program(name) {
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, executable).expect("a mode");
        }
    }
}

fn content_is_program(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "sh")
}

fn all() -> Vec<Case> {
    let all: Vec<_> = [cases::all(), fields::all(), plugins::all()].into_iter().flatten().collect();
    assert!(all.len() >= 60, "{}", all.len());
    all
}

/// Lets `program` run with each case, and says where it did something else than the table says.
fn compare(program: impl Fn() -> Command, also: impl Fn(&Case, &Servers, &str)) {
    let servers = Servers::start();
    let mut differences = Vec::new();
    for case in all() {
        let folder = tempfile::tempdir().expect("a folder");
        write_files(&case, &servers, folder.path());
        let mut program = program();
        prepare(&mut program, &case, &servers, folder.path());
        let ran = run(&mut program);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        let reached = servers.reached();
        if reached != case.reaches {
            differences.push(format!("{}: {reached}, not {}: {said}", case.name, case.reaches));
        }
        also(&case, &servers, &said);
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

mod sandbox {
    use super::*;

    /// Nor does any output show a secret, however much is asked for.
    #[test]
    fn t15_e6_kubeconfigs_are_read_as_the_table_says() {
        compare(
            || command(["version", "-v", "9", "--request-timeout", "20s"]),
            |case, servers, said| assert_eq!(shown_in(said, servers), [""; 0], "{}: {said}", case.name),
        );
    }
}

mod control_plane {
    use super::*;

    #[test]
    fn t15_e6_kubectl_reads_them_so() {
        assert!(
            std::env::var_os("SCIURO_CLUSTER_DIR").is_some(),
            "kubectl comes with the real control plane"
        );
        let kubectl = || {
            let mut kubectl = Command::new("kubectl");
            kubectl.args(["get", "--raw", "/version"]);
            kubectl
        };
        compare(kubectl, |_, _, _| ());
    }
}
