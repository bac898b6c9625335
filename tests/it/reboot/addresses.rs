//! What a node says of itself goes into command lines: only what cannot do harm there.

use sciuro::remedy::reboot::command::CommandOptions;
use sciuro::remedy::reboot::ssh::SshOptions;
use sciuro::remedy::reboot::{Addresses, RebootError};
use serde_json::{Value, json};

use crate::support::{World, scenarios};

scenarios![the_address_that_was_asked_for, addresses_that_are_none, the_command_as_it_will_run];

/// The name of a node with these addresses and this provider id.
fn node(world: &World, short: &str, addresses: &Value, provider_id: &str) -> String {
    let name = world.name(short);
    let mut node = ::sandbox::node(&name);
    node["status"]["addresses"] = addresses.clone();
    node["spec"]["providerID"] = provider_id.into();
    world.create("/api/v1/nodes", &node);
    name
}

fn ssh(world: &World, node: &str, kind: &str) -> Result<String, RebootError> {
    let node = world.block_on(world.cluster(None).remediated_node(node)).unwrap().unwrap();
    SshOptions::new(&node, Addresses { kind, known: None }, None).map(|options| options.address.text)
}

fn command(world: &World, node: &str, words: &[&str]) -> Result<String, RebootError> {
    let node = world.block_on(world.cluster(None).remediated_node(node)).unwrap().unwrap();
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    CommandOptions::new(&words, &node, Addresses { kind: "InternalIP", known: None })
        .map(|options| options.shown())
}

fn the_address_that_was_asked_for(world: &World) {
    let addresses = json!([
        {"type": "Hostname", "address": "w1.example.org"},
        {"type": "InternalIP", "address": "fd00::7"},
        {"type": "InternalIP", "address": "10.0.0.7"},
    ]);
    let node = node(world, "w1", &addresses, "");
    assert_eq!(ssh(world, &node, "InternalIP"), Ok("fd00::7".into()), "the first is the node's own choice");
    assert_eq!(ssh(world, &node, "Hostname"), Ok("w1.example.org".into()));
    let error = ssh(world, &node, "ExternalIP").unwrap_err();
    assert_eq!(
        error.why,
        "the node has no address of type ExternalIP, it has Hostname, InternalIP, InternalIP"
    );
}

fn addresses_that_are_none(world: &World) {
    let bad = ["-oProxyCommand=touch x", "10.0.0.7 -l root", "w1;reboot", "root@w1", "$(x)", "a\nb", ""];
    for (index, bad) in bad.into_iter().enumerate() {
        let addresses = json!([{"type": "InternalIP", "address": bad}]);
        let node = node(world, &format!("w{index}"), &addresses, "");
        let error = ssh(world, &node, "InternalIP").unwrap_err();
        assert!(error.why.contains("is neither an IP address nor a DNS name"), "{bad:?} {error:?}");
        assert_eq!(command(world, &node, &["ipmitool", "-H", "{address}"]).unwrap_err().why, error.why);
        assert_eq!(command(world, &node, &["beep"]), Ok("beep".into()), "nobody asked for an address");
    }
}

fn the_command_as_it_will_run(world: &World) {
    let addresses = json!([{"type": "InternalIP", "address": "10.0.0.7"}]);
    let good = node(world, "w1", &addresses, "aws:///eu-west-1a/i-0abc");
    let words = ["tool", "--at=https://{address}/{node}", "{provider-id}", "$(x) {other}", "{\"a\": 1}"];
    let shown = format!(
        "tool '--at=https://10.0.0.7/{good}' aws:///eu-west-1a/i-0abc '$(x) {{other}}' '{{\"a\": 1}}'"
    );
    assert_eq!(command(world, &good, &words), Ok(shown));
    assert_eq!(command(world, &good, &[]).unwrap_err().why, "the command is empty");
    for (index, id) in ["--force", "a b", "x;y", "{node}"].into_iter().enumerate() {
        let node = node(world, &format!("p{index}"), &addresses, id);
        let error = command(world, &node, &["tool", "{provider-id}"]).unwrap_err();
        assert!(error.why.contains("is not to be trusted"), "{id} {error:?}");
    }
    let node = node(world, "p", &addresses, "");
    let error = command(world, &node, &["tool", "{provider-id}"]).unwrap_err();
    assert!(error.why.contains("has no provider id"), "{error:?}");
}
