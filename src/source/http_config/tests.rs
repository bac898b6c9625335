#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

fn read(text: &str) -> Result<HttpConfig, Mistake> {
    parse(text, Path::new("/etc/sciuro"))
}

#[track_caller]
fn refuses(text: &str, line: u64, what: &str, hint: &str) {
    let mistake = read(text).expect_err(text);
    assert_eq!(
        (mistake.line, mistake.what.as_str(), mistake.hint.as_deref().unwrap_or_default()),
        (line, what, hint),
        "{text}"
    );
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "\n", "# nothing\n\n", "{}", "basic_auth:\ntls_config: {}\nproxy_url: ''"] {
        let config = read(text).unwrap();
        assert!(config.auth.is_none() || text.contains("basic_auth"), "{text}");
        assert!(config.follows_redirects());
        assert!(matches!(config.proxy, Proxy::Environment));
    }
}

#[test]
fn everything_at_once() {
    let config = read(
        r#"
basic_auth:
  username: reader
  password_file: password
tls_config:
  ca_file: /pki/ca.crt
  cert_file: client.crt
  key_file: client.key
  server_name: alertmanager.example
  insecure_skip_verify: false
  min_version: TLS13
proxy_url: "http://proxy.example:3128"
no_proxy: "10.0.0.0/8,.svc"
proxy_connect_header:
  X-Site: [a, b]
follow_redirects: false
enable_http2: true
http_headers:
  X-Scope-OrgID:
    values: [a]
    secrets: ["b"]
    files: [tenant]
"#,
    )
    .unwrap();
    let Some(Auth::Basic { username: Some(Given::Here(name)), password: Some(Given::File(password)) }) =
        &config.auth
    else {
        panic!("{config:?}")
    };
    assert_eq!(name.expose_secret(), "reader");
    assert_eq!(password, Path::new("/etc/sciuro/password"));
    assert!(matches!(&config.tls.ca, Some(Given::File(path)) if path == Path::new("/pki/ca.crt")));
    assert_eq!(config.tls.only, Some(ProtocolVersion::TLSv1_3));
    assert_eq!(config.tls.server_name.as_deref(), Some("alertmanager.example"));
    assert!(!config.follows_redirects());
    assert_eq!(config.headers[0].0, "x-scope-orgid");
    assert_eq!(config.headers[0].1.len(), 3);
    assert_eq!(config.proxy.connect_headers().get_all("x-site").iter().count(), 2);
}

#[test]
fn proxies_of_the_environment() {
    assert!(matches!(read("proxy_from_environment: true").unwrap().proxy, Proxy::Environment));
    assert!(matches!(read("proxy_from_environment: false").unwrap().proxy, Proxy::None));
}

#[test]
fn versions_of_tls() {
    for (text, only) in [
        ("min_version: TLS10", None),
        ("max_version: TLS12", Some(ProtocolVersion::TLSv1_2)),
        ("min_version: TLS12", None),
        ("min_version: TLS13", Some(ProtocolVersion::TLSv1_3)),
    ] {
        assert_eq!(read(&format!("tls_config: {{{text}}}")).unwrap().tls.only, only, "{text}");
    }
}

#[test]
fn mistakes_have_a_line_and_say_what_is_allowed() {
    refuses(
        "tls_config:\n  ca_fiel: x\n",
        2,
        "unknown key tls_config.ca_fiel",
        "allowed are: ca, ca_file, cert, cert_file, key, key_file, server_name, insecure_skip_verify, min_version, max_version",
    );
    refuses(
        "# tokens\nbearer_token: x\n",
        2,
        "unknown key bearer_token",
        "allowed are: basic_auth, authorization, oauth2, tls_config, proxy_url, no_proxy, proxy_from_environment, \
         proxy_connect_header, follow_redirects, enable_http2, http_headers",
    );
    refuses(
        "basic_auth: hunter2",
        1,
        "basic_auth: expected a mapping, found a string",
        "its keys are: username, username_file, password, password_file",
    );
    refuses(
        "- a\n- b\n",
        1,
        "the file: expected a mapping, found a list",
        &format!("its keys are: {}", KEYS.join(", ")),
    );
    refuses(
        "basic_auth:\n  username: a\n  password: 12345\n",
        3,
        "basic_auth.password: expected a string, found a number",
        "put it in quotes",
    );
    refuses("basic_auth:\n  password: [a]\n", 2, "basic_auth.password: expected a string, found a list", "");
    refuses("follow_redirects: perhaps", 1, "follow_redirects: expected true or false, found a string", "");
    refuses(
        "basic_auth:\n  password: a\n  password_file: b\n",
        3,
        "basic_auth.password and basic_auth.password_file exclude each other",
        "leave one of them out",
    );
    refuses(
        "authorization: {credentials: a}\nbasic_auth: {username: a}\n",
        2,
        "authorization and basic_auth exclude each other",
        "leave one of them out",
    );
    refuses(
        "authorization:\n  type: Basic\n",
        2,
        "authorization.type: Basic has a section of its own",
        "basic_auth: {username: NAME, password_file: FILE}",
    );
    refuses(
        "\noauth2:\n  client_id: x\n",
        2,
        "oauth2 is not supported",
        "let a helper such as oauth2-proxy or vault-agent keep a token in a file, and name that under authorization: {credentials_file: FILE}",
    );
}

#[test]
fn mistakes_about_tls_proxies_and_headers() {
    refuses(
        "tls_config:\n  cert_file: x\n",
        2,
        "tls_config: a certificate needs its key",
        "add key_file: FILE",
    );
    refuses("tls_config:\n  key: x\n", 2, "tls_config: a key needs its certificate", "add cert_file: FILE");
    refuses(
        "tls_config:\n  min_version: TLS14\n",
        2,
        "tls_config.min_version: no version of TLS",
        "allowed are: TLS10, TLS11, TLS12, TLS13",
    );
    refuses(
        "tls_config:\n  max_version: TLS11\n",
        2,
        "tls_config.max_version: TLS 1.0 and 1.1 are not supported",
        "allowed are: TLS12, TLS13",
    );
    refuses(
        "tls_config:\n  max_version: TLS12\n  min_version: TLS13\n",
        2,
        "tls_config: min_version is above max_version",
        "",
    );
    refuses(
        "tls_config:\n  server_name: 'a b'\n",
        2,
        "tls_config.server_name: expected a host name or an IP address",
        "",
    );
    refuses("no_proxy: a\n", 1, "no_proxy needs a proxy_url", "add proxy_url: http://PROXY:3128");
    refuses(
        "proxy_url: http://a\nproxy_from_environment: true\n",
        2,
        "proxy_from_environment excludes proxy_url and no_proxy",
        "leave one of them out",
    );
    refuses(
        "proxy_url: gopher://a\n",
        1,
        "proxy_url is not the URL of a proxy",
        "it is written http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT",
    );
    refuses(
        "http_headers:\n  Authorization: {values: [x]}\n",
        2,
        "http_headers: authorization cannot be set here",
        "basic_auth and authorization set the Authorization header",
    );
    refuses(
        "http_headers:\n  X-A:\n    value: [x]\n",
        3,
        "unknown key http_headers.X-A.value",
        "allowed are: values, secrets, files",
    );
    refuses("http_headers:\n  X-A: {values: [\"a\\nb\"]}\n", 2, "a header's value is one line of text", "");
    refuses("http_headers:\n  'X A': {values: [a]}\n", 2, "this is no name of an HTTP header", "");
}

#[test]
fn what_is_no_yaml_is_not_quoted() {
    for text in [
        "basic_auth:\n  password: \"hunter2\n",
        "hunter2: [",
        "a: hunter2: b",
        "&a hunter2\n*b",
        "\t- hunter2",
    ] {
        let mistake = read(text).expect_err(text);
        assert!(!format!("{mistake:?}").contains("hunter2: ["), "{mistake:?}");
    }
    let duplicate = read("proxy_url: http://a\nproxy_url: http://u:hunter2@b\n").unwrap_err();
    assert!(!format!("{duplicate:?}").contains("hunter2"), "{duplicate:?}");
}

#[test]
fn debug_output_has_no_secrets() {
    let config = read(
        "authorization: {credentials: hunter2}\nhttp_headers: {X-A: {values: [hunter2], secrets: [hunter2]}}\n\
         tls_config: {ca: hunter2, cert: hunter2, key: hunter2}\n\
         proxy_url: http://u:hunter2@p\nproxy_connect_header: {X-B: [hunter2]}\n",
    )
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

#[test]
fn files_are_read_without_the_line_break_at_their_end() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("token", "  s3cr3t\n\n");
    let config =
        parse("authorization:\n  type: Token\n  credentials_file: token\n", directory.path()).unwrap();
    assert_eq!(config.load().unwrap().headers["authorization"], "Token s3cr3t");
    write("token", "rotated");
    assert_eq!(config.load().unwrap().headers["authorization"], "Token rotated");
    write("token", "two\nlines");
    let error = config.load().err().unwrap();
    assert!(error.ends_with("token: credentials are one line of text"), "{error}");
    std::fs::remove_file(directory.path().join("token")).unwrap();
    let error = config.load().err().unwrap();
    assert!(error.starts_with("cannot read ") && error.contains("token: No such file"), "{error}");
    std::fs::File::create(directory.path().join("token")).unwrap().set_len(2 << 20).unwrap();
    assert!(config.load().err().unwrap().ends_with("token is larger than 1 MiB"));
}

#[test]
fn a_name_and_a_password_are_encoded() {
    let config = read("basic_auth: {username: Aladdin, password: 'open sesame'}").unwrap();
    let value = &config.load().unwrap().headers["authorization"];
    assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(format!("{value:?}"), "Sensitive");
}

/// Pieces of such files, right and wrong.
fn piece() -> impl Strategy<Value = String> {
    let keys = KEYS.into_iter().chain([
        "username",
        "password",
        "password_file",
        "credentials",
        "type",
        "ca",
        "min_version",
        "server_name",
        "values",
        "secrets",
        "files",
        "X-A",
        "&a",
        "*a",
        "!!str",
        "? ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "|",
        ">",
        "'",
        "\"",
        "<<: ",
        "---",
        "...",
        "%YAML 1.2",
        "true",
        "12",
        "~",
        "TLS12",
        "http://u:hunter2@h",
        "#",
    ]);
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    prop_oneof![8 => prop::sample::select(keys), 1 => Just("hunter2".to_owned()), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_repeat_a_secret(pieces in prop::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        match read(&text) {
            Ok(config) => {
                let shown = format!("{config:?}");
                prop_assert!(!shown.contains("hunter2"), "{}", shown);
            }
            // A key is shown, and then it was no secret.
            Err(mistake) if mistake.what.starts_with("unknown key") || mistake.what.contains("http_headers") => {}
            Err(mistake) => {
                let shown = format!("{mistake:?}");
                prop_assert!(!shown.contains("hunter2"), "{}", shown);
            }
        }
    }
}
