//! What a Node says of itself is to stand in a command line: it may lead to that machine and to no other. Its kubelet
//! writes addresses, and the provider ID once. A person's file of addresses may be mistaken, too.

use std::net::IpAddr;

use super::{FleetNode, Reason, Situation};
use crate::core::address;
use crate::core::matching::is_own_name;

/// What the target says of itself and a command line takes, as it will stand there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub address: Option<String>,
    /// It is of a file of the user's, and not the node's own word.
    pub is_known: bool,
    pub provider_id: Option<String>,
    /// What the address is, or what its name was resolved to here.
    pub ips: Vec<IpAddr>,
    /// One of them, or in the provider ID, that is an address of the machine that this process runs on.
    pub own: Option<IpAddr>,
}

pub(super) fn refuses(situation: &Situation<'_>) -> Option<Reason> {
    let told = situation.told;
    let address = told.address.as_deref().and_then(|address| of_address(address, situation));
    let reason = address.or_else(|| of_provider_id(told.provider_id.as_deref()?, situation));
    let reason = match (reason, situation.twin()) {
        // Then nothing tells its machine from the other one's: over ssh the boot id would be right there.
        (Some(reason), Some(_)) => reason.for_good(),
        (None, Some(twin)) if (told.address.is_some() && !told.is_known) || told.provider_id.is_some() => {
            let why = format!(
                "where its machine is is its own word, as is its boot id, which is also {}'s",
                twin.name
            );
            Reason::new(why).for_good()
        }
        (reason, _) => reason?,
    };
    Some(reason.hint("--address-file FILE takes addresses that you know, and {node} the node's name"))
}

fn of_address(address: &str, situation: &Situation<'_>) -> Option<Reason> {
    let Told { ips, own, is_known, .. } = situation.told;
    let says = if *is_known { "the address file" } else { "the node" };
    let what = |why: String| Reason::new(format!("{says} says that its address is {address}: {why}"));
    if let Some(why) = leads_astray(address) {
        return Some(what(why).for_good());
    }
    let here = ips.iter().find(|ip| own.as_ref() == Some(*ip) || leads_astray(&ip.to_string()).is_some());
    if let Some(ip) = here {
        let this = if own.as_ref() == Some(ip) { "that is this machine" } else { "that is no machine's own" };
        return Some(what(format!("{this} ({ip})")).for_good());
    }
    if let Some((other, why)) = another(address, ips, situation) {
        return Some(what(format!("{why} {}", other.name)));
    }
    let is_name = !is_known && address::ip(address).is_none() && !is_own_name(situation.target, address);
    is_name.then(|| what("that is not its name".to_owned()))
}

/// Any part of it may be taken for a host, with a port or without.
fn of_provider_id(id: &str, situation: &Situation<'_>) -> Option<Reason> {
    let what = |why: String| Reason::new(format!("the node says that its provider ID is {id}: {why}"));
    let here = |host: &str| match address::meant(host) {
        Some(ip) if situation.told.own == Some(ip) => Some("that leads to this machine"),
        Some(ip) if ip.is_loopback() => Some("that leads to whatever machine uses it"),
        _ => address::is_loopback(host).then_some("that leads to whatever machine uses it"),
    };
    if let Some(why) = address::hosts(id).find_map(here) {
        return Some(what(why.to_owned()).for_good());
    }
    if let Some(other) = situation.others().find(|other| is_same_id(id, other)) {
        return Some(what(format!("so does {}", other.name)));
    }
    let of_another = |host| another(host, address::meant(host).as_slice(), situation);
    let (other, why) = address::hosts(id).find_map(of_another)?;
    Some(what(format!("{why} {}", other.name)))
}

/// Whole, or in the last part, if that is no mere number.
fn is_same_id(id: &str, other: &FleetNode) -> bool {
    let Some(others) = &other.provider_id else { return false };
    let last = |id: &str| id.rsplit('/').next().unwrap_or_default().to_lowercase();
    let is_number = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
    id.eq_ignore_ascii_case(others) || (last(id) == last(others) && !is_number(&last(id)))
}

/// Whether programs take it for something else than it says, or for the machine that they run on.
fn leads_astray(address: &str) -> Option<String> {
    match (address.parse::<IpAddr>(), address::ip(address)) {
        (_, Some(_)) | (Err(_), _) if address::is_loopback(address) => {
            Some("that is whatever machine uses it".to_owned())
        }
        (Ok(written), Some(meant)) if written != meant => {
            Some(format!("that is another way to write {meant}"))
        }
        (_, Some(IpAddr::V4(ip))) if ip.is_broadcast() || ip.is_multicast() => {
            Some("that is many machines".to_owned())
        }
        (_, Some(IpAddr::V6(ip))) if ip.is_multicast() => Some("that is many machines".to_owned()),
        (Err(_), _) if ends_in_a_number(address) => {
            Some("programs read such a number as an address of four parts".to_owned())
        }
        _ => None,
    }
}

/// `127.1`, `2130706433`, `0x7f000001`: what `inet_aton(3)` takes, and a URL does (WHATWG URL §3.5, "ends in a number").
fn ends_in_a_number(name: &str) -> bool {
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let hexadecimal = last.strip_prefix("0x");
    let is_hexadecimal =
        hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hexadecimal || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Another node that goes by this name or address, or one of these IPs.
fn another<'s>(
    text: &str,
    ips: &[IpAddr],
    situation: &Situation<'s>,
) -> Option<(&'s FleetNode, &'static str)> {
    let is_its_name = text.eq_ignore_ascii_case(situation.target);
    let is_named = |other: &FleetNode| {
        let by_label = other.hostname.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(text));
        !is_its_name && (by_label || is_own_name(&other.name, text))
    };
    let says = |other: &FleetNode| {
        other.addresses.iter().any(|address| match address::ip(address) {
            Some(ip) => ips.contains(&ip) || address::ip(text) == Some(ip),
            None => !is_its_name && address.trim_end_matches('.').eq_ignore_ascii_case(text),
        })
    };
    situation.others().find_map(|other| match () {
        () if is_named(other) => Some((other, "that is a name of")),
        () if says(other) => Some((other, "that is also an address of")),
        () => None,
    })
}
