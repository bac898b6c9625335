//! Who is who, and which machine a text would lead to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::support::Fleet;

/// What stands for `{key}` in a forgery.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    pub(super) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(format!("{{{key}}}"), value.into());
    }

    pub(super) fn fill(&self, template: &str) -> String {
        self.0.iter().fold(template.to_owned(), |text, (key, value)| text.replace(key, value))
    }
}

/// A machine that a run is about, or that it must not touch.
#[derive(Debug, Clone, Default)]
pub(super) struct Identity {
    /// Of the Node; of the operator's machine its host name.
    pub(super) name: String,
    pub(super) boot_id: String,
    addresses: Vec<IpAddr>,
    provider_id: Option<String>,
}

impl Identity {
    /// As the Node is before anybody forges anything.
    pub(super) fn of(fleet: &Fleet<'_>, node: &str) -> Self {
        let object = fleet.world.get_node(node);
        let addresses = object["status"]["addresses"].as_array().into_iter().flatten();
        Self {
            name: node.to_owned(),
            boot_id: fleet.machines.facts(node).expect("a machine").boot_id,
            addresses: addresses.filter_map(|one| one["address"].as_str()?.parse().ok()).collect(),
            provider_id: object["spec"]["providerID"].as_str().map(str::to_owned),
        }
    }

    /// The machine on which the program runs.
    pub(super) fn of_the_operator() -> Self {
        let read = |file: &str| std::fs::read_to_string(file).expect("Linux").trim().to_owned();
        let said = std::process::Command::new("hostname").arg("-I").output();
        let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
        let loopback = [IpAddr::from([127, 0, 0, 1])];
        Self {
            name: read("/proc/sys/kernel/hostname").to_lowercase(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            addresses: said.split_whitespace().filter_map(|ip| ip.parse().ok()).chain(loopback).collect(),
            provider_id: None,
        }
    }

    /// `InternalIP`, of a node.
    pub(super) fn ip(&self) -> IpAddr {
        self.addresses[0]
    }

    /// `ExternalIP`: of a node here, the loopback address of its kubelet.
    pub(super) fn external_ip(&self) -> IpAddr {
        self.addresses[1]
    }

    /// Whether this text, which is a part of a command line, would lead there.
    pub(super) fn is_meant_by(&self, text: &str) -> bool {
        let is_its_name = |part: &str| {
            let part = part.trim_end_matches('.').to_lowercase();
            part == self.name || part.split('.').next() == Some(&self.name)
        };
        let has = |ip: IpAddr| self.addresses.contains(&ip);
        self.provider_id.as_ref().is_some_and(|id| id.eq_ignore_ascii_case(text))
            || parts(text).any(|part| meant_ip(part).map_or_else(|| is_its_name(part), has))
    }
}

/// Hosts that a URL, a provider ID or an address may have in it: with their port, and without.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let hosts = text.split(['/', '@', '_']).chain([text]);
    hosts.flat_map(|host| [host, host.rsplit_once(':').map_or(host, |(host, _)| host)])
}

/// Loopback, or what programs take for it: whoever uses it means itself.
pub(super) fn is_loopback(text: &str) -> bool {
    parts(text).any(|part| match meant_ip(part) {
        Some(ip) => ip.is_loopback() || ip.is_unspecified(),
        None => {
            ["localhost", "localhost.localdomain", "ip6-localhost"].contains(&&*part.to_lowercase())
                || part.ends_with(".localhost")
        }
    })
}

/// The address that programs take this for, `inet_aton(3)` included.
pub(super) fn meant_ip(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok().or_else(|| aton(text).map(IpAddr::V4))?;
    let IpAddr::V6(v6) = ip else { return Some(ip) };
    // IPv4 as IPv6: mapped, compatible, through NAT64.
    let [.., high, low] = v6.segments();
    let is_v4 = [[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0xffff], [0x64, 0xff9b, 0, 0, 0, 0]]
        .iter()
        .any(|prefix| v6.segments().starts_with(prefix));
    let is_special = v6.is_loopback() || v6.is_unspecified();
    let v4 = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    Some(if is_v4 && !is_special { v4.into() } else { ip })
}

fn aton(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| -> Option<u32> {
        let lower = part.to_ascii_lowercase();
        match lower.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None if lower.len() > 1 && lower.starts_with('0') => u32::from_str_radix(&lower, 8).ok(),
            None => lower.parse().ok(),
        }
    };
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    let room = 4_usize.checked_sub(first.len()).filter(|room| *room > 0)?;
    let fits = u64::from(*last) < 1 << (8 * room) && first.iter().all(|byte| *byte < 256);
    let head = first.iter().enumerate().fold(0, |sum, (place, byte)| sum | byte << (24 - 8 * place));
    fits.then(|| Ipv4Addr::from(head | last))
}

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
