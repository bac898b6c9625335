//! Addresses of nodes, as hosts(5) has them: an address, then names, `#` before remarks.

use std::collections::BTreeMap;

use super::address;

/// By node name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(BTreeMap<String, String>);

impl Hosts {
    /// Fails with the number of the first line that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut hosts = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next() else { continue };
            let mut names = words.peekable();
            if names.peek().is_none() {
                return Err(format!("line {number}: names have to follow the address"));
            }
            if address.contains('%') {
                continue; // of one interface of one machine
            }
            if address::ip(address).is_none() && !address::is_dns_name(address) {
                return Err(format!("line {number}: {address:?} is neither an IP address nor a DNS name"));
            }
            for name in names {
                // The first counts, as for programs that resolve names.
                hosts.entry(name.to_owned()).or_insert_with(|| address.to_owned());
            }
        }
        Ok(Self(hosts))
    }

    pub fn address(&self, node: &str) -> Option<&str> {
        self.0.get(node).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f9_b3_addresses_are_read_as_hosts_5_has_them() {
        let hosts =
            Hosts::parse("# ours\n\n10.0.0.7\tw1 w1.example # rack 3\nbmc-2.example w2\r\nfd00::3 w3\n");
        let address = |name: &str| hosts.as_ref().ok()?.address(name);
        assert_eq!(address("w1"), Some("10.0.0.7"));
        assert_eq!(address("w1.example"), Some("10.0.0.7"));
        assert_eq!(address("w2"), Some("bmc-2.example"));
        assert_eq!(address("w3"), Some("fd00::3"));
        assert_eq!(address("w4"), None);
        for (text, why) in [
            ("\n10.0.0.7", "line 2: names have to follow the address"),
            ("-oProxyCommand=x w1", "line 1: \"-oProxyCommand=x\" is neither an IP address nor a DNS name"),
        ] {
            assert_eq!(Hosts::parse(text), Err(why.to_owned()));
        }
        let usual = "127.0.0.1 localhost\n::1 localhost ip6-localhost\nfe80::1%lo0 localhost\n10.0.0.7 w1\n10.0.0.8 w1\n";
        assert_eq!(Hosts::parse(usual).as_ref().map(|hosts| hosts.address("w1")), Ok(Some("10.0.0.7")));
    }
}
