//! Credential plugins, good and bad.

use super::cases::{Case, KNOWN, PLAIN, TLS, case};

const NOBODY: &str = "nobody";
const V1: &str = "apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never";

/// A plugin that runs this script, and is said to be so.
fn with(name: &'static str, exec: &str, script: &str, reaches: &'static str) -> Case {
    let user = format!("exec: {{command: ./plugin.sh, {exec}}}");
    case(name, TLS, &user, reaches).file("plugin.sh", format!("#!/bin/sh\n{script}\n"))
}

fn plugin(name: &'static str, script: &str, reaches: &'static str) -> Case {
    with(name, V1, script, reaches)
}

/// A script that prints this credential.
fn gives(status: &str) -> String {
    says(&format!(
        r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{status}}}"#
    ))
}

fn says(output: &str) -> String {
    format!("cat <<'END'\n{output}\nEND")
}

/// A token, and the same by the older version.
fn tokens() -> (String, String) {
    let token = gives(r#"{"token":"s3cr3t-t"}"#);
    let beta = token.replace("k8s.io/v1", "k8s.io/v1beta1");
    (token, beta)
}

pub(super) fn all() -> Vec<Case> {
    [printed(), configured(), others()].into_iter().flatten().collect()
}

fn printed() -> Vec<Case> {
    let (token, beta) = tokens();
    vec![
        plugin("a token", &token, KNOWN),
        plugin(
            "with an end",
            &gives(r#"{"token":"s3cr3t-t","expirationTimestamp":"2100-01-01T00:00:00Z"}"#),
            KNOWN,
        ),
        plugin(
            "which has ended",
            &gives(r#"{"token":"s3cr3t-t","expirationTimestamp":"2020-01-01T00:00:00Z"}"#),
            KNOWN,
        ),
        plugin(
            "an end that is no time",
            &gives(r#"{"token":"s3cr3t-t","expirationTimestamp":"soon"}"#),
            NOBODY,
        ),
        plugin(
            "YAML",
            &says(
                "kind: ExecCredential\napiVersion: client.authentication.k8s.io/v1\nstatus: {token: s3cr3t-t}",
            ),
            KNOWN,
        ),
        plugin("something on stderr", &format!("echo logging in >&2\n{token}"), KNOWN),
        plugin("it fails", "echo s3cr3t-stdout; echo no ticket >&2; exit 3", NOBODY),
        plugin("it prints its token and fails", &format!("{token}\nexit 1"), NOBODY),
        plugin("it kills itself", "kill -9 $$", NOBODY),
        plugin("nothing", "", NOBODY),
        plugin(
            "half of it",
            &says(
                r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"s3cr3t"#,
            ),
            NOBODY,
        ),
        plugin("no JSON", "echo token: s3cr3t: no", NOBODY),
        plugin("a number", &gives(r#"{"token":7}"#), NOBODY),
        plugin("an empty token", &gives(r#"{"token":""}"#), NOBODY),
        plugin(
            "no status",
            &says(r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}"#),
            NOBODY,
        ),
        plugin("another kind", &token.replace("ExecCredential", "Pod"), NOBODY),
        plugin("another version", &beta, NOBODY),
        plugin("a certificate without its key", &gives(r#"{"clientCertificateData":"s3cr3t"}"#), NOBODY),
        plugin(
            "a certificate that is none",
            &gives(r#"{"clientCertificateData":"s3cr3t","clientKeyData":"s3cr3t"}"#),
            NOBODY,
        ),
    ]
}

fn configured() -> Vec<Case> {
    let (token, beta) = tokens();
    vec![
        with("v1beta1 needs no mode", "apiVersion: client.authentication.k8s.io/v1beta1", &beta, KNOWN),
        with("v1 does", "apiVersion: client.authentication.k8s.io/v1", &token, NOBODY),
        with(
            "v1alpha1",
            "apiVersion: client.authentication.k8s.io/v1alpha1, interactiveMode: Never",
            &token.replace("/v1", "/v1alpha1"),
            NOBODY,
        ),
        with("no version", "interactiveMode: Never", &token, NOBODY),
        with(
            "a mode that is none",
            "apiVersion: client.authentication.k8s.io/v1, interactiveMode: Sometimes",
            &token,
            NOBODY,
        ),
        with(
            "it has to ask, and nobody answers",
            "apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always",
            &token,
            NOBODY,
        ),
        with(
            "it may ask",
            "apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable",
            &token,
            KNOWN,
        ),
        with(
            "it is told that nobody answers",
            "apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable",
            &format!("case $KUBERNETES_EXEC_INFO in *'\"interactive\":false'*) ;; *) exit 9;; esac\n{token}"),
            KNOWN,
        ),
        with(
            "arguments and variables",
            &format!("{V1}, args: [s3cr3t-t], env: [{{name: TOKEN, value: s3cr3t-t}}]"),
            &format!(r#"[ "$1 $TOKEN" = "s3cr3t-t s3cr3t-t" ] || exit 9{}{token}"#, "\n"),
            KNOWN,
        ),
        with(
            "arguments of a plugin that fails",
            &format!("{V1}, args: [s3cr3t-a], env: [{{name: T, value: s3cr3t-v}}]"),
            "exit 1",
            NOBODY,
        ),
        with("a variable without a name", &format!("{V1}, env: [{{value: x}}]"), &token, NOBODY),
        with(
            "what it is told",
            &format!("{V1}, provideClusterInfo: true"),
            &format!(
                "case $KUBERNETES_EXEC_INFO in *https://{{tls}}*certificate-authority-data*|*certificate-authority-data*https://{{tls}}*) ;; *) exit 9;; esac\n{token}"
            ),
            KNOWN,
        ),
        with(
            "what it is not told",
            V1,
            &format!("case $KUBERNETES_EXEC_INFO in *https://*) exit 9;; esac\n{token}"),
            KNOWN,
        ),
    ]
}

fn others() -> Vec<Case> {
    let (token, _) = tokens();
    let credential = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":
        {"clientCertificateData":"{cert-lines}","clientKeyData":"{key-lines}"}}"#;
    let user = format!("exec: {{command: ./plugin.sh, {V1}}}");
    vec![
        case("over plain HTTP none runs", PLAIN, &format!("exec: {{command: ./plugin.sh, {V1}}}"), "plain")
            .file("plugin.sh", "#!/bin/sh\nexit 1\n"),
        case(
            "a token comes before it",
            TLS,
            &format!("token: s3cr3t-t, exec: {{command: ./plugin.sh, {V1}}}"),
            KNOWN,
        )
        .file("plugin.sh", "#!/bin/sh\nexit 1\n"),
        case(
            "it is not installed",
            TLS,
            &format!("exec: {{command: no-such-plugin, installHint: 'see the wiki', {V1}}}"),
            NOBODY,
        ),
        case("nor there", TLS, &format!("exec: {{command: ./gone.sh, {V1}}}"), NOBODY),
        case("it is no program", TLS, &format!("exec: {{command: ./plugin, {V1}}}"), NOBODY)
            .file("plugin", "s3cr3t"),
        case("no command", TLS, &format!("exec: {{{V1}}}"), NOBODY),
        case(
            "a provider as well",
            TLS,
            &format!("exec: {{command: ./plugin.sh, {V1}}}, auth-provider: {{name: oidc}}"),
            NOBODY,
        )
        .file("plugin.sh", format!("#!/bin/sh\n{token}\n")),
        case("a certificate", "server: 'https://{mtls}', certificate-authority-data: {ca64}", &user, "mtls")
            .file("plugin.sh", "#!/bin/sh\ncd \"$(dirname \"$0\")\"\ncat credential.json\n")
            .file("credential.json", credential),
    ]
}
