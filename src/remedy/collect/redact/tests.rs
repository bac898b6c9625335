#![allow(clippy::unwrap_used, clippy::format_collect)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

fn redacted(text: &str) -> (String, usize) {
    Redactor::new(Vec::new()).text(text)
}

#[track_caller]
fn hides(text: &str, secret: &str) {
    let (redacted, count) = redacted(text);
    assert!(!redacted.contains(secret), "{redacted}");
    assert_eq!(count, 1, "{redacted}");
    assert_eq!(self::redacted(&redacted), (redacted.clone(), 0), "redacted once more");
}

#[track_caller]
fn becomes(text: &str, expected: &str) {
    assert_eq!(redacted(text).0, expected);
}

#[track_caller]
fn stays(text: &str) {
    assert_eq!(redacted(text), (text.to_owned(), 0));
}

#[test]
fn values_by_their_names() {
    for text in [
        "password=hunter2 user=x",
        "PGPASSWORD='hunter2' psql",
        r#"{"db_password": "hunter2"}"#,
        r#"{\"token\":\"hunter2\"}"#,
        r#"{\\\"token\\\":\\\"hunter2\\\"}"#,
        "spring.datasource.password: hunter2",
        "--token hunter2",
        "--token=hunter2",
        r#"["server","--token","hunter2"]"#,
        "Config{User:app Password:hunter2}",
        "X-Auth-Token:[hunter2]",
        "https://x.blob.core.example/c?sv=2024&sig=hunter2%3D&se=2026",
        "GET /callback?client_secret=hunter2&state=1",
        "next=https%3A%2F%2Fx%3Fpassword%3Dhunter2",
        "Server=db;Database=x;User Id=sa;Password=hunter2;Encrypt=true",
        "Endpoint=sb://x/;SharedAccessKeyName=root;SharedAccessKey=hunter2=",
        "\x1b[36mpassword\x1b[0m=\x1b[32mhunter2\x1b[0m",
        "machine example.org login app password hunter2",
        "mysql -u root -phunter2 -e 'select 1'",
        "curl -u app:hunter2 https://example.org",
        r#""curl","-u","app:hunter2""#,
        "sshpass -p hunter2 ssh x",
    ] {
        hides(text, "hunter2");
    }
}

#[test]
fn a_value_is_hidden_to_its_end() {
    becomes("password=a,b;c&d next", "password=REDACTED next");
    becomes("Password=a;User=x", "Password=REDACTED;User=x");
    becomes("token=a, user=b", "token=REDACTED, user=b");
    becomes(r#"password="a b\" c" x"#, r#"password="REDACTED" x"#);
    becomes(r#"{\"password\":\"a\\\"b\",\"x\":1}"#, r#"{\"password\":\"REDACTED\",\"x\":1}"#);
    becomes("password=\"cut off", "password=\"REDACTED");
    becomes(r"password=ab\cd\nnext", r"password=REDACTED\nnext");
}

#[test]
fn userinfo() {
    becomes("dial postgres://app:hunter2@db:5432/x failed", "dial postgres://REDACTED@db:5432/x failed");
    becomes("mongodb+srv://app:p@ss/w0rd?#x@db/x", "mongodb+srv://REDACTED@db/x");
    becomes("https://0123456789abcdef@github.com/x", "https://REDACTED@github.com/x");
    becomes("u=https%3A%2F%2Fapp%3Apw%40x", "u=https%3A%2F%2FREDACTED%40x");
    stays("docker-pullable://registry:5000/nginx@sha256:0a1b");
    stays("https://example.org:8080/~me@example.org?to=me@example.org");
    stays("http://[fd00::1]:2379/health");
}

#[test]
fn secrets_by_their_form() {
    for secret in [
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "github_pat_11ABCDEFG0abcdefghijkl_0123456789",
        "xoxb-123456789012-abcdefABCDEF",
        "glpat-abcdefghijklmnopqrst",
        "AIzaSyA-0123456789abcdefghijklmnopqrstu",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0",
        "hvs.CAESIJ0123456789abcdef0123",
        "$6$salt5678$0123456789abcdefghijklmnopqrstuvwxyz",
    ] {
        hides(&format!("2026-11-23T00:00:00Z got {secret} today"), secret);
    }
    hides("POST https://hooks.slack.com/services/T0/B0/abcdef0123456789", "abcdef0123456789");
    hides("Authorization: Bearer abcdef0123456789", "abcdef0123456789");
    hides("sent Bearer abcdef0123456789", "abcdef0123456789");
    hides("curl -H 'Authorization: Basic YXBwOmh1bnRlcjI='", "YXBwOmh1bnRlcjI");
    hides("proxy wants Basic YXBwOmh1bnRlcjI=", "YXBwOmh1bnRlcjI");
    hides("Set-Cookie: session=abc; Path=/", "abc");
    stays("Basic authentication failed");
    stays("bearer authentication: no header");
}

const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\n\
    MIIEowIBAAKCAQEA0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL\n\
    bodybodybodybodybodybodybodybodybodybodybodybodybodybodybodybody\n\
    lastlastlastlast0123==\n\
    -----END RSA PRIVATE KEY-----";

fn with_timestamps(text: &str) -> String {
    text.lines().map(|line| format!("2026-11-23T00:00:00.000000000Z {line}\n")).collect()
}

#[test]
fn keys_in_pem() {
    becomes(&format!("x\n{KEY}\ny"), "x\nREDACTED\ny");
    becomes(&format!("key {} y", KEY.replace('\n', "\\n")), "key REDACTED y");
    let of_log = with_timestamps(&format!("before\n{KEY}\nafter"));
    let (text, count) = redacted(&of_log);
    assert_eq!(count, 1);
    assert!(text.contains("before") && text.contains("after"), "{text}");
    for part in ["MIIE", "bodybody", "lastlast", "KEY-----"] {
        assert!(!text.contains(part), "{part} in {text}");
    }
}

/// Wherever the log was cut, nothing of the key's body is left, and the lines around it are.
#[test]
fn keys_that_were_cut() {
    let log = with_timestamps(&format!("before\n{KEY}\nafter"));
    let lines: Vec<&str> = log.lines().collect();
    for cut in 1..lines.len() {
        for part in [&lines[cut..], &lines[..cut]] {
            let (text, _) = redacted(&part.join("\n"));
            if part.iter().any(|line| line.contains("PRIVATE")) {
                assert!(!["MIIE", "body", "last"].iter().any(|word| text.contains(word)), "{text}");
            }
            assert_eq!(text.contains("after"), part.contains(&lines[lines.len() - 1]), "{text}");
            assert_eq!(text.contains("before"), part.contains(&lines[0]), "{text}");
        }
    }
}

#[test]
fn secrets_in_base64() {
    let secret = STANDARD.encode(KEY);
    hides(&format!("client-key-data: {secret}"), &secret[..40]);
    hides(&format!("sent {secret}"), &secret[..40]);
    hides(&format!("sent {}", STANDARD.encode(&secret)), &STANDARD.encode(&secret)[..40]);
    hides(r#"{"auths":{"registry.example":{"auth":"YXBwOmh1bnRlcjI="}}}"#, "YXBwOmh1bnRlcjI");
    let config = STANDARD.encode(r#"{"password":"hunter2","user":"app"}"#);
    hides(&format!("applied {config}"), &config);
    stays(&format!("said {}", STANDARD.encode("nothing that matters to anybody")));
}

#[test]
fn lists_under_secret_names() {
    let mut object = json!({
        "passwords": ["hunter2", 7, ["hunter2"]],
        "apiToken": ["hunter2", ""],
        "nested": {"example.org/credentials": [{"user": "app", "password": "hunter2"}]},
        "staticPodURLHeader": {"X-Auth": ["hunter2"]},
        "imagePullSecrets": [{"name": "registry"}],
        "projected": {"sources": [{"secret": {"name": "db", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}]},
        "resources": ["secrets", "tokens"],
        "continueToken": ["page"],
    });
    let count = Redactor::new(Vec::new()).object(&mut object);
    let text = object.to_string();
    assert!(!text.contains("hunter2") && !text.contains('7'), "{text}");
    assert_eq!(count, 6);
    for kept in
        ["registry", r#""name":"db""#, "ca.crt", r#"["secrets","tokens"]"#, r#"["page"]"#, r#""user":"app""#]
    {
        assert!(text.contains(kept), "{kept} is gone: {text}");
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let encoded = STANDARD.encode(text);
    encoded.as_bytes().chunks(width).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
}

/// `base64` breaks after 76 characters, PEM and OpenSSL after 64.
#[test]
fn secrets_in_base64_over_several_lines() {
    for width in [64, 76] {
        let lines = wrapped(KEY, width);
        let stamped: Vec<_> = lines.iter().map(|line| format!("2026-11-23T00:00:00.5Z {line}")).collect();
        let indented: Vec<_> = lines.iter().map(|line| format!("      {line}")).collect();
        for block in [lines.join("\n"), stamped.join("\n"), indented.join("\r\n"), lines.join("\\n")] {
            let (text, count) = redacted(&format!("tls.key: |\n{block}\nHello world, it goes on"));
            assert_eq!(count, 1, "{text}");
            for line in &lines {
                assert!(!text.contains(&line[..line.len().min(20)]), "{line} in {text}");
            }
            assert!(
                text.starts_with("tls.key: |\n") && text.ends_with("\nHello world, it goes on"),
                "{text}"
            );
            assert_eq!(redacted(&text), (text.clone(), 0), "redacted once more");
        }
        // Its end was cut off.
        let (text, _) = redacted(&lines[..2].join("\n"));
        assert!(!text.contains(&lines[1][..20]), "{text}");
    }
    let letter = "Nothing that matters to anybody, told at such a length that it does not fit into one line of base64.";
    stays(&wrapped(letter, 76).join("\n"));
}

/// What an engineer looks for.
#[test]
fn what_is_no_secret_stays() {
    for text in [
        "evicting pod shop/web-7d5b9c6f4d-x2x7k from 10.244.1.17",
        "https://example.org/path?x=1",
        "OOMKilled: container exceeded 512Mi",
        "2026-11-23T00:00:00Z kubelet: certificate rotated",
        "uid 6f1c3f0e-6d6b-4b8e-9a38-0d7e3d0f2f10 bootID 0a0b0c0d-1111-2222-3333-444455556666",
        "registry.example/team/app:1.2.3@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "containerd://9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 4738b6b0a1b2c3d4e5f60718293a4b5c6d7e8f90",
        r#"MountVolume.SetUp failed for volume "db-secret" : secret "db-cred" not found"#,
        "couldn't find key password in Secret shop/db",
        "failed to refresh token: context deadline exceeded",
        r#"secrets "x" is forbidden: User "system:node:n1" cannot get resource "secrets""#,
        "--tls-private-key-file=/var/lib/kubelet/pki/kubelet.key --token-auth-file /etc/t",
        "secretName: db-cred",
        "automountServiceAccountToken: false",
        "expirationSeconds: 3607, path: token",
        "PWD=/root OLDPWD=/",
        "password=$DB_PASSWORD token=${TOKEN} secret=<none> password=******",
        "docker run -u 1000:1000 x",
        "/var/lib/kubelet/pods/6f1c3f0e-6d6b-4b8e-9a38-0d7e3d0f2f10/volumes/kubernetes.io~csi/pvc-1/mount",
        "topologyKey: kubernetes.io/hostname",
        "aa:bb:cc:dd:ee:ff fd00::1 2001:db8::17/64 fe80::1",
        "Key type ECDSA; the author of this; authority example.org",
    ] {
        stays(text);
    }
}

#[test]
fn secrets_in_objects() {
    let mut pod = json!({
        "metadata": {"annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{\"env\":\"hunter2\"}",
            "objectset.rio.cattle.io/applied": "H4sIhunter2",
            "example.org/api-token": "hunter2",
            "note": "fine",
        }},
        "spec": {"containers": [{
            "name": "app",
            "env": [
                {"name": "DB_PASSWORD", "value": "hunter2"},
                {"name": "LEVEL", "value": "debug"},
                {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
            ],
            "args": ["--api-key", "hunter2", "--level", "debug", "--token=hunter2", "-u", "app:hunter2"],
            "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "X-Api-Key", "value": "hunter2"}]}},
        }], "volumes": [{"secret": {"secretName": "db"}}]},
        "password=hunter2": 1,
    });
    let count = Redactor::new(Vec::new()).object(&mut pod);
    let text = pod.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(count, 9);
    for kept in ["fine", "debug", r#""secretName":"db""#, r#""key":"password""#] {
        assert!(text.contains(kept), "{kept} is gone: {text}");
    }
}

#[test]
fn the_users_own_patterns() {
    let redactor = Redactor::new(vec![Regex::new("acct-[0-9]+").unwrap(), Regex::new("z*").unwrap()]);
    assert_eq!(redactor.text("pay acct-123 now"), ("pay REDACTED now".to_owned(), 1));
}
