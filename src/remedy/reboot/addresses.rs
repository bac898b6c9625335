//! Where a node is: as its Node says, whose kubelet writes that, or as a file of the user's does.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::{RebootError, one_line};
use crate::cluster::RemediatedNode;
use crate::core::address::{self, is_dns_name};
use crate::core::gates::Told;
use crate::core::hosts::Hosts;

/// A name server that is slow must not keep a run waiting.
const RESOLVED_WITHIN: Duration = Duration::from_secs(5);

/// Which address of a node is taken.
#[derive(Debug, Clone, Copy)]
pub struct Addresses<'a> {
    /// Such as `InternalIP`: the first of these that the Node has.
    pub kind: &'a str,
    /// What the user knows, and then nothing else.
    pub known: Option<&'a Hosts>,
}

impl Addresses<'_> {
    /// An IP address or a DNS name, and nothing else: it goes into command lines.
    pub(super) fn of(&self, node: &RemediatedNode) -> Result<Address, RebootError> {
        if let Some(known) = self.known {
            let found = known
                .address(&node.name)
                .ok_or_else(|| RebootError::new(format!("--address-file has no line for {}", node.name)))?;
            return Ok(Address { text: found.to_owned(), is_told: false });
        }
        let kind = self.kind;
        let Some(found) = node.addresses.iter().find(|address| address.kind == kind) else {
            let kinds: Vec<&str> = node.addresses.iter().map(|address| address.kind.as_str()).collect();
            let has = if kinds.is_empty() { "none at all".to_owned() } else { kinds.join(", ") };
            let why = format!("the node has no address of type {kind}, it has {has}");
            return Err(RebootError::new(why).hint("--ssh-address takes another type"));
        };
        let text = found.address.clone();
        if text.parse::<IpAddr>().is_err() && !is_dns_name(&text) {
            let shown = one_line(&text);
            let why = format!("the node's {kind} is neither an IP address nor a DNS name: {shown:?}");
            return Err(RebootError::new(why).hint("--ssh-address takes another type"));
        }
        Ok(Address { text, is_told: true })
    }
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub text: String,
    /// The node's own word.
    pub is_told: bool,
}

/// What commands take of what the node says, with what its address leads to from here.
pub async fn look(address: Option<&Address>, provider_id: Option<&str>) -> Told {
    let is_known = address.is_some_and(|address| !address.is_told);
    let address = address.map(|address| address.text.clone());
    let ips = match &address {
        Some(text) => resolve(text).await,
        None => Vec::new(),
    };
    let in_id = provider_id.into_iter().flat_map(address::hosts).filter_map(address::meant);
    let own = ips.iter().copied().chain(in_id).find(|ip| is_own(*ip));
    Told { address, is_known, provider_id: provider_id.map(str::to_owned), ips, own }
}

async fn resolve(text: &str) -> Vec<IpAddr> {
    if let Some(ip) = address::ip(text) {
        return vec![ip];
    }
    // A name that nobody knows here may be one for the user's ssh alone.
    let found = tokio::time::timeout(RESOLVED_WITHIN, tokio::net::lookup_host((text, 0))).await;
    let found = found.into_iter().flatten().flatten();
    found.map(|socket: SocketAddr| address::canonical(socket.ip())).collect()
}

/// Whether packets to it would stay on this machine. Nothing is sent: the kernel is asked for the source address.
fn is_own(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    socket.is_ok_and(|local| local.ip() == ip)
}
