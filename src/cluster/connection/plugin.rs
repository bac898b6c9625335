//! Credential plugins, as kubectl runs them (client-go's `plugin/pkg/client/auth/exec`): once, and again when what they gave
//! has run out or the server does not take it.
//!
//! An error says which program failed and how, and what it said on stderr, never with which arguments and variables it was
//! called, or what it said on stdout.

use std::io::IsTerminal;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::{Value, json};
use tokio::process::Command;

use super::kubeconfig::{Cluster, Plugin};
use super::yaml::{Table, document, text};

/// Somebody may have to find their phone, or log in with a browser.
const WITHIN: Duration = Duration::from_secs(300);

/// So much of stderr is repeated.
const ENOUGH: usize = 1000;

/// What a plugin gave.
pub(super) struct Given {
    pub(super) token: Option<SecretString>,
    /// Certificate and key, in PEM.
    pub(super) identity: Option<(SecretSlice<u8>, SecretSlice<u8>)>,
    pub(super) until: Option<Timestamp>,
}

/// Runs the plugin. `authority` is that of the cluster, in PEM.
pub(super) async fn run(
    plugin: &Plugin,
    cluster: &Cluster,
    server: &str,
    authority: Option<&[u8]>,
) -> Result<Given, String> {
    let name = &plugin.command;
    let can_answer = std::io::stdin().is_terminal();
    let is_interactive = match plugin.interactive_mode.as_str() {
        "Always" if !can_answer => {
            return Err(format!("{name} has to ask (interactiveMode: Always), and stdin is no terminal"));
        }
        "Never" => false,
        _ => can_answer,
    };
    let mut spec = json!({"interactive": is_interactive});
    if plugin.provide_cluster_info {
        spec["cluster"] = information(cluster, server, authority);
    }
    let request = json!({"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec});
    let mut command = Command::new(name);
    command
        .args(plugin.args.iter().map(ExposeSecret::expose_secret))
        .envs(plugin.env.iter().map(|(name, value)| (name, value.expose_secret())))
        .env("KUBERNETES_EXEC_INFO", request.to_string())
        .stdin(if is_interactive { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        // Whoever is asked something must see it now; otherwise it belongs to the error.
        .stderr(if std::io::stderr().is_terminal() { Stdio::inherit() } else { Stdio::piped() })
        .kill_on_drop(true);
    let ended = async { command.spawn()?.wait_with_output().await };
    let ended = match tokio::time::timeout(WITHIN, ended).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            let hint = plugin.install_hint.trim();
            return Err(format!("{name} is not installed{}{hint}", if hint.is_empty() { "" } else { ": " }));
        }
        Ok(Err(error)) => return Err(format!("{name} cannot be run: {error}")),
        Err(_) => return Err(format!("{name} did not end within {}s", WITHIN.as_secs())),
    };
    let said = String::from_utf8_lossy(&ended.stderr);
    let said: String = said.trim().chars().take(ENOUGH).collect();
    if !ended.status.success() {
        let how = match ended.status.code() {
            Some(code) => format!("failed with exit code {code}"),
            None => format!("was ended ({})", ended.status),
        };
        return Err(format!("{name} {how}{}{said}", if said.is_empty() { "" } else { ": " }));
    }
    if !said.is_empty() {
        tracing::info!("{name}: {said}");
    }
    read(ended.stdout, &plugin.api_version).map_err(|why| format!("{name} gave no credentials: {why}"))
}

/// What it is told about the cluster, if it wants to know.
fn information(cluster: &Cluster, server: &str, authority: Option<&[u8]>) -> Value {
    let mut information = json!({"server": server});
    let mut add = |key: &str, value: Value, is_there: bool| {
        if is_there {
            information[key] = value;
        }
    };
    let name = &cluster.tls_server_name;
    add("tls-server-name", json!(name), !name.is_empty());
    let insecure = cluster.insecure_skip_tls_verify;
    add("insecure-skip-tls-verify", json!(insecure), insecure);
    let authority = authority.map(|authority| BASE64_STANDARD.encode(authority));
    add("certificate-authority-data", json!(authority), authority.is_some());
    let proxy = &cluster.proxy_url;
    add("proxy-url", json!(proxy), !proxy.is_empty());
    add("disable-compression", json!(cluster.disable_compression), cluster.disable_compression);
    add("config", json!(cluster.for_plugin), cluster.for_plugin.is_some());
    information
}

/// What the plugin printed, in JSON or YAML.
fn read(stdout: Vec<u8>, api_version: &str) -> Result<Given, String> {
    let root = document(&text(stdout)?)?;
    let root = Table::of(&root, "its output".to_owned())?;
    if root.text("kind")? != "ExecCredential" {
        return Err("its output is not an ExecCredential".to_owned());
    }
    if root.text("apiVersion")? != api_version {
        return Err(format!("its output is not of {api_version}, for which it is configured"));
    }
    let status = root.table("status")?.ok_or("its output has no status")?;
    let [token, certificate, key, until] =
        ["token", "clientCertificateData", "clientKeyData", "expirationTimestamp"]
            .map(|key| status.text(key));
    let (token, until) = (token?, until?);
    let identity = match (certificate?, key?) {
        (certificate, key) if certificate.is_empty() && key.is_empty() => None,
        (certificate, key) if certificate.is_empty() || key.is_empty() => {
            return Err("a certificate without its key, or a key without its certificate".to_owned());
        }
        (certificate, key) => Some((certificate.into_bytes().into(), key.into_bytes().into())),
    };
    if token.is_empty() && identity.is_none() {
        return Err("neither a token nor a certificate with its key".to_owned());
    }
    let until = Some(until).filter(|until| !until.is_empty());
    let until = until.map(|until| until.parse().map_err(|_| "expirationTimestamp is not a time".to_owned()));
    Ok(Given {
        token: Some(token).filter(|token| !token.is_empty()).map(Into::into),
        identity,
        until: until.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(output: &str) -> String {
        read(output.as_bytes().to_vec(), "client.authentication.k8s.io/v1").err().unwrap_or_default()
    }

    /// What is wrong is said, and not what is there.
    #[test]
    fn t15_e2_no_output_is_repeated() {
        let with = |status: &str| {
            format!("{{kind: ExecCredential, apiVersion: client.authentication.k8s.io/v1, status: {status}}}")
        };
        for (output, why) in [
            (String::new(), "its output is not an ExecCredential"),
            ("s3cr3t".to_owned(), "its output is text, not a mapping"),
            ("{\"token\": \"s3cr3t".to_owned(), "line 1 is not YAML"),
            ("\u{0}s3cr3t: [".to_owned(), "line 1 is not YAML"),
            (with("s3cr3t"), "its output.status is text, not a mapping"),
            (with("{token: 731}"), "its output.status.token is a number, not text; put it in quotes"),
            (with("{token: [s3cr3t]}"), "its output.status.token is a list, not text; put it in quotes"),
            (with("{}"), "neither a token nor a certificate with its key"),
            (
                with("{clientKeyData: s3cr3t}"),
                "a certificate without its key, or a key without its certificate",
            ),
            (with("{token: s3cr3t, expirationTimestamp: s3cr3t}"), "expirationTimestamp is not a time"),
            (
                with("{token: s3cr3t}").replace("/v1", "/v1beta1"),
                "its output is not of client.authentication.k8s.io/v1, for which it is configured",
            ),
        ] {
            assert_eq!(refusal(&output), why, "{output}");
        }
        assert_eq!(refusal(&with("{token: s3cr3t}")), "");
    }
}
