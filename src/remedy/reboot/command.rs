//! A command of the user's reboots the machine: ipmitool, curl to a Redfish service, a cloud's own tool. It is never given to a
//! shell, and an attempt runs it at most once.

use std::time::Duration;

use super::{Address, Addresses, Issued, RebootError, one_line};
use crate::cluster::RemediatedNode;
use crate::core::address::is_dns_name;
use crate::core::secrets;
use crate::remedy::program::run;

/// A BMC takes its time to answer.
const WITHIN: Duration = Duration::from_secs(60);

const ADDRESS: &str = "{address}";
const PROVIDER_ID: &str = "{provider-id}";
const NODE: &str = "{node}";

/// The command for one node, as it will be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOptions {
    /// The program first.
    argv: Vec<String>,
    /// What stands in it for `{address}`.
    address: Option<Address>,
    /// And for `{provider-id}`.
    provider_id: Option<String>,
}

impl CommandOptions {
    /// From words, in which `{node}`, `{address}` and `{provider-id}` stand for the node's. They were
    /// split before: what a node says of itself never becomes two words.
    pub fn new(
        words: &[String],
        node: &RemediatedNode,
        addresses: Addresses<'_>,
    ) -> Result<Self, RebootError> {
        let asks_for = |placeholder: &str| words.iter().any(|word| word.contains(placeholder));
        let mut values = Vec::new();
        let address = asks_for(ADDRESS).then(|| addresses.of(node)).transpose()?;
        let provider_id = asks_for(PROVIDER_ID).then(|| provider_id(node)).transpose()?;
        if asks_for(NODE) {
            if !is_dns_name(&node.name) {
                return Err(RebootError::new(format!("the node's name is no DNS name: {:?}", node.name)));
            }
            values.push((NODE, node.name.clone()));
        }
        values.extend(address.iter().map(|address| (ADDRESS, address.text.clone())));
        values.extend(provider_id.iter().map(|id| (PROVIDER_ID, id.clone())));
        let argv: Vec<String> = words.iter().map(|word| expand(word, &values)).collect();
        if argv.first().is_none_or(String::is_empty) {
            return Err(RebootError::new("the command is empty"));
        }
        Ok(Self { argv, address, provider_id })
    }

    #[cfg(test)]
    pub(crate) fn of(argv: &[&str]) -> Self {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Self { argv, address: None, provider_id: None }
    }

    /// The program and its arguments.
    pub fn argv(&self) -> &[String] {
        &self.argv
    }

    /// The address and the provider ID that stand in it.
    pub fn takes(&self) -> (Option<&Address>, Option<&str>) {
        (self.address.as_ref(), self.provider_id.as_deref())
    }

    /// As a person would type it in a shell.
    /// The same to be shown: what may be a password is not there.
    pub fn masked(&self) -> Vec<String> {
        secrets::masked(&self.argv)
    }

    /// As a person would type it in a shell, with passwords masked.
    pub fn shown(&self) -> String {
        let masked = self.masked();
        let quoted = masked.iter().map(|word| match shlex::try_quote(word) {
            Ok(quoted) => quoted.into_owned(),
            Err(_) => format!("{word:?}"),
        });
        quoted.collect::<Vec<_>>().join(" ")
    }
}

/// A kubelet writes it: letters, digits and what the ids of clouds consist of, and nothing that reads as an option.
fn provider_id(node: &RemediatedNode) -> Result<String, RebootError> {
    let id = node.provider_id.as_deref().unwrap_or_default();
    if id.is_empty() {
        return Err(RebootError::new(format!(
            "the node has no provider id, and the command asks for {PROVIDER_ID}"
        )));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/._-".contains(&byte);
    if id.starts_with('-') || !id.bytes().all(is_plain) {
        return Err(RebootError::new(format!(
            "the node's provider id is not to be trusted: {:?}",
            one_line(id)
        )));
    }
    Ok(id.to_owned())
}

/// In one pass: a value that looks like a placeholder stays as it is.
fn expand(word: &str, values: &[(&str, String)]) -> String {
    let mut expanded = String::new();
    let mut rest = word;
    while let Some(character) = rest.chars().next() {
        if let Some((placeholder, value)) =
            values.iter().find(|(placeholder, _)| rest.starts_with(placeholder))
        {
            expanded.push_str(value);
            rest = &rest[placeholder.len()..];
        } else {
            expanded.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    expanded
}

pub(super) async fn issue(options: &CommandOptions) -> Result<Issued, RebootError> {
    let Some((program, arguments)) = options.argv.split_first() else {
        return Err(RebootError::new("the command is empty"));
    };
    let ended = run(program, arguments, WITHIN)
        .await
        .map_err(|error| RebootError::new(format!("cannot run {program}: {error}")))?
        .ok_or_else(|| {
            let seconds = WITHIN.as_secs();
            RebootError::new(format!(
                "{program} did not end within {seconds}s and was killed; the machine may reboot nevertheless"
            ))
        })?;
    let output = [ended.stdout.as_str(), ended.stderr.as_str()].concat();
    if ended.status.success() {
        return Ok(Issued { output });
    }
    let last = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let why = format!("{program} failed ({}): {}", ended.status, one_line(last));
    Err(RebootError { output, ..RebootError::new(why) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn placeholders_are_replaced_once_and_within_words() {
        let values = [(NODE, "{address}".to_owned()), (ADDRESS, "10.0.0.7".to_owned())];
        assert_eq!(expand("{node}", &values), "{address}");
        assert_eq!(expand("https://{address}/{node}/ü{x}{", &values), "https://10.0.0.7/{address}/ü{x}{");
        assert_eq!(expand(r#"{"ResetType": "ForceRestart"}"#, &values), r#"{"ResetType": "ForceRestart"}"#);
    }

    #[tokio::test]
    async fn exit_0_alone_is_issued() {
        let argv = |script: &str| CommandOptions::of(&["sh", "-c", script]);
        assert_eq!(issue(&argv("echo done")).await, Ok(Issued { output: "done\n".into() }));
        let failed = issue(&argv("echo out; echo no route to BMC >&2; exit 2")).await.unwrap_err();
        assert_eq!(failed.why, "sh failed (exit status: 2): no route to BMC");
        assert_eq!(failed.output, "out\nno route to BMC\n");
        let absent = CommandOptions::of(&["no-such-program-of-ours"]);
        assert!(issue(&absent).await.unwrap_err().why.starts_with("cannot run no-such-program-of-ours: "));
    }
}
