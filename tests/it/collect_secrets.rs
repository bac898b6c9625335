//! No secret that runs by a node gets into a bundle, in whatever form.

#![expect(clippy::format_collect, reason = "short texts")]

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::remediate::scene::Scene;
use crate::support::{World, scenarios};
use crate::watch::eventually;

scenarios!(no_secret_is_in_a_bundle, half_a_secret_is_none);

const COLLECT: [&str; 5] =
    ["--yes", "--force", "--until=collect", "--max-unavailable=100%", "--redact=acct-[0-9]+"];

/// Of each kind one; where `{}` stands is the secret.
const IN_LOGS: [(&str, &str); 32] = [
    ("password={} user=app", "hunter-2-log"),
    (r#"{"level":"info","db_password":"{}"}"#, "hunter-2-json"),
    (r#"{"msg":"{\"token\":\"{}\"}"}"#, "hunter-2-nested"),
    ("password=\"{}\"", "with space & 'quote'; <3"),
    ("Authorization: Bearer {}", "b3arer0123456789abcdef"),
    ("-H 'Authorization: Basic {}'", "YXBwOmh1bnRlcjI="),
    ("map[Authorization:[Bearer {}]]", "go-dump-0123456789"),
    ("Cookie: session={}; theme=dark", "c00kie-0123456789"),
    ("id {}", "AKIAIOSFODNN7EXAMPLE"),
    ("aws_secret_access_key = {}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("export AWS_SESSION_TOKEN={}", "FwoGZXIvYXdzEBYaDexample0123"),
    ("pushed with {}", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
    ("clone https://x-access-token:{}@github.com/x", "ghs_abcdef0123456789abcdef0123456789"),
    ("slack {}", "xoxb-123456789012-abcdefABCDEF0123"),
    ("post https://hooks.slack.com/services/T0AB/B0CD/{}", "hook0123456789abcdefghij"),
    (
        "AccountName=x;AccountKey={};EndpointSuffix=core",
        "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8SNFZ4kA==",
    ),
    ("client_secret={}", "abc8Q~0123456789abcdefghijklmnopqrstu"),
    ("dial postgres://app:{}@db:5432/x: refused", "pg-hunter2"),
    ("parse \"mysql://app:{}@db/x\": invalid", "p@ss/w0rd"),
    ("mongodb+srv://app:{}@cluster0.example/x", "mongo-hunter2"),
    ("Server=tcp:db,1433;User ID=sa;Password={};Encrypt=True", "S3rv3r!hunter"),
    ("proxy http://{}@proxy.example:3128", "proxyuser-proxypass"),
    (
        "client-key-data: {}",
        "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlFb3dJQkFBS0NBUUVBMDEyMzQ1Njc4OQotLS0tLUVORCBSU0EgUFJJVkFURSBLRVktLS0tLQo=",
    ),
    (r#"{"auths":{"registry.example":{"auth":"{}"}}}"#, "cmVnaXN0cnk6aHVudGVyMg=="),
    (
        "key -----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----\\n done",
        "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCone",
    ),
    (
        "jwt {}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    ),
    ("GET /cb?access_token={}&state=1", "query-token-0123"),
    ("kubeadm join 10.0.0.1:6443 --token {}", "abcdef.0123456789abcdef"),
    ("\x1b[36mapi_key\x1b[0m={}", "c0lour3d-key"),
    ("wrote /backup/dump-{}.sql", "AKIAIOSFODNN7FILENAM"),
    ("sig https://x.blob.example/c?sv=2024&sig={}&se=2026", "sas%2Bsignature%3D"),
    ("billed {}", "acct-4711"),
];

const KEY: [&str; 3] = [
    "MIIEowIBAAKCAQEAlineone0123456789abcdefghijklmnopqrstuvwxyzABCD",
    "linetwolinetwolinetwolinetwolinetwolinetwolinetwolinetwo01234567",
    "linethreelinethree==",
];

fn pem() -> String {
    format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", KEY.join("\n"))
}

fn no_secret_is_in_a_bundle(world: &World) {
    let scene = Scene::new(world);
    let pods = format!("/api/v1/namespaces/{}/pods", scene.namespace);
    let image =
        "registry.example/c:1@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let pod = json!({"metadata": {"name": "web", "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "{\"spec\":{\"x\":\"applied-hunter2\"}}",
        "example.org/api-token": "annotation-hunter2", "note": "wanted-note"}},
    "spec": {"nodeName": scene.node, "automountServiceAccountToken": false, "containers": [{
        "name": "c", "image": image,
        "command": ["server", "--password", "argument-hunter2"],
        "args": ["--token=flag-hunter2", "--url", "redis://:url-hunter2@cache:6379", "--level", "wanted-level"],
        "env": [{"name": "DB_PASSWORD", "value": "env-hunter2"}, {"name": "SERVICE_ACCOUNT_JSON", "value":
                json!({"type": "service_account", "private_key": pem(), "project_id": "wanted-project"}).to_string()},
            {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "wanted-secret-name", "key": "password"}}}],
        "livenessProbe": {"httpGet": {"path": "/", "port": 80, "httpHeaders": [{"name": "X-Api-Key", "value": "header-hunter2"}]}},
    }]}});
    world.create(&pods, &pod);
    scene.until_running(1);
    scene.patch(&scene.node, &json!({"metadata": {"annotations": {
        "k3s.io/node-args": r#"["agent","--token","node-hunter2"]"#, "example.org/dsn": "postgres://u:dsn-hunter2@db/x"}}}));
    let stored = world.request("GET", &format!("{pods}/web"), "application/json", &Value::Null);
    let uid = stored["metadata"]["uid"].as_str().unwrap();
    world.create(&format!("/api/v1/namespaces/{}/events", scene.namespace), &json!({
        "metadata": {"name": "web.1"}, "type": "Warning", "reason": "Failed", "count": 1,
        "message": "pull https://robot:event-hunter2@registry.example/c: secret \"wanted-pull-secret\" not found",
        "involvedObject": {"kind": "Pod", "namespace": scene.namespace, "name": "web", "uid": uid}}));
    let mut log: String = IN_LOGS
        .iter()
        .map(|(line, secret)| format!("2026-11-23T00:00:00Z {}\n", line.replace("{}", secret)))
        .collect();
    log.extend(pem().lines().map(|line| format!("2026-11-23T00:00:00Z {line}\n")));
    log.push_str("2026-11-23T00:00:00Z wanted-line from 10.244.1.17\n");
    world.container_log_fault(&scene.node, &scene.namespace, "web", "c").body("text/plain", log);

    scene.remediate(&COLLECT).exits(0);
    let members = scene.members();
    let planted = [
        "applied-hunter2",
        "annotation-hunter2",
        "argument-hunter2",
        "flag-hunter2",
        "url-hunter2",
        "env-hunter2",
        "header-hunter2",
        "node-hunter2",
        "dsn-hunter2",
        "event-hunter2",
    ];
    let secrets: Vec<&str> =
        planted.into_iter().chain(IN_LOGS.iter().map(|(_, secret)| *secret)).chain(KEY).collect();
    assert!(secrets.len() >= 40);
    for secret in &secrets {
        is_nowhere(secret, &members);
    }
    let log = format!("pods/{}/web/c.log", scene.namespace);
    let boot = scene.facts().boot_id;
    for (file, wanted) in [
        (&*format!("pods/{}/web/pod.yaml", scene.namespace), image),
        (&format!("pods/{}/web/pod.yaml", scene.namespace), uid),
        (&format!("pods/{}/web/pod.yaml", scene.namespace), "wanted-note"),
        (&format!("pods/{}/web/pod.yaml", scene.namespace), "wanted-secret-name"),
        (&format!("pods/{}/web/pod.yaml", scene.namespace), "wanted-level"),
        (&format!("pods/{}/web/pod.yaml", scene.namespace), "wanted-project"),
        ("node/node.yaml", &boot),
        ("summary.md", &boot),
        ("events.txt", "secret \"wanted-pull-secret\" not found"),
        (&log, "wanted-line from 10.244.1.17"),
        (&log, "db:5432/x: refused"),
        (&log, "user=app"),
    ] {
        let text = String::from_utf8_lossy(&members[file]);
        assert!(text.contains(wanted), "{wanted} is gone from {file}: {text}");
    }
    manifest_is_true(&members);
    let manifest: Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
    let of_log =
        manifest["files"].as_array().unwrap().iter().find(|file| file["name"] == log.as_str()).unwrap();
    assert!(of_log["redactions"].as_u64().unwrap() > IN_LOGS.len() as u64, "{of_log}");
}

/// Every member is in the manifest with its hash, and the other way round.
#[track_caller]
pub fn manifest_is_true(members: &BTreeMap<String, Vec<u8>>) {
    let manifest: Value = serde_json::from_slice(&members["manifest.json"]).expect("JSON");
    let files = manifest["files"].as_array().expect("files").iter();
    let listed: BTreeMap<&str, &str> =
        files.filter_map(|file| Some((file["name"].as_str()?, file["sha256"].as_str()?))).collect();
    let hex =
        |content: &[u8]| Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let hashed: BTreeMap<&str, String> = members
        .iter()
        .filter(|(name, _)| *name != "manifest.json")
        .map(|(name, content)| (name.as_str(), hex(content)))
        .collect();
    assert_eq!(listed, hashed.iter().map(|(name, hash)| (*name, hash.as_str())).collect());
}

#[track_caller]
fn is_nowhere(secret: &str, members: &BTreeMap<String, Vec<u8>>) {
    let mut forms = vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        serde_json::to_string(secret).unwrap().trim_matches('"').to_owned(),
        STANDARD.encode(secret),
    ];
    for before in 0..3 {
        let padded = [&vec![0; before], secret.as_bytes()].concat();
        // What is the same whatever stands before and behind it.
        let whole = padded.len() / 3 * 3;
        let from = if before == 0 { 0 } else { 4 };
        forms.push(STANDARD_NO_PAD.encode(&padded[..whole])[from..].to_owned());
        forms.push(URL_SAFE_NO_PAD.encode(&padded[..whole])[from..].to_owned());
    }
    for (name, content) in members {
        for form in &forms {
            let is_in = content.windows(form.len()).any(|part| part == form.as_bytes());
            assert!(
                !is_in && !name.contains(form),
                "{secret} is in {name} as {form}: {}",
                String::from_utf8_lossy(content)
            );
        }
    }
}

/// What is cut by the end or the beginning of what is kept.
fn half_a_secret_is_none(world: &World) {
    let scene = Scene::new(world);
    for app in ["begin", "end"] {
        scene.bare_pod(app);
    }
    scene.until_running(2);
    // The kept half MiB begins in the second line of a key.
    let filler = "2026-11-23T00:00:00Z nothing to see\n";
    let after = format!("{}\n{}\n-----END RSA PRIVATE KEY-----\n", &KEY[1][10..], KEY[2]);
    let rest = (512 << 10) - after.len();
    let filled = filler.repeat(rest / filler.len());
    let pad = "x".repeat(rest - filled.len() - 1);
    let begin = format!(
        "{}-----BEGIN RSA PRIVATE KEY-----\n{}\n{}{after}{filled}{pad}\n",
        filler.repeat(1000),
        KEY[0],
        &KEY[1][..10]
    );
    world.container_log_fault(&scene.node, &scene.namespace, "begin", "c").body("text/plain", begin);
    // The answer breaks off in a token, and in a key before that.
    let end = format!(
        "first\n{}sent Bearer b3arer01",
        pem().lines().take(3).map(|line| format!("{line}\n")).collect::<String>()
    );
    let length = end.len();
    world
        .container_log_fault(&scene.node, &scene.namespace, "end", "c")
        .body("text/plain", end + "23456789 and more")
        .truncate(length);

    scene.remediate(&COLLECT).exits(0);
    let members = scene.members();
    let log = |pod: &str| {
        String::from_utf8_lossy(&members[&format!("pods/{}/{pod}/c.log", scene.namespace)]).into_owned()
    };
    for part in ["lineone", "linetwo", "linethree", "b3arer"] {
        assert!(!log("begin").contains(part) && !log("end").contains(part), "{part}");
    }
    assert!(log("begin").contains("nothing to see"));
    assert!(log("end").starts_with("first\n"), "{}", log("end"));
    let errors = String::from_utf8_lossy(&members["errors.txt"]).into_owned();
    eventually("both are said to be cut", || errors.matches("/c.log: ").count() == 2);
    manifest_is_true(&members);
}

mod only {
    mod sandbox {
        use crate::support::World;

        #[test]
        fn a_pattern_has_to_be_one() {
            let world = World::sandbox();
            world.run(&["remediate", "n1", "--redact", "acct-("]).exits(2).says("--redact");
        }
    }
}
