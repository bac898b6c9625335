//! Names and addresses of the machines.

use std::net::Ipv4Addr;

use crate::fnv;

/// `worker1a`, `worker1b`, `worker2a`, …: machines sit in twos in a chassis, as in the article.
pub fn default_names(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("worker{}{}", index / 2 + 1, if index % 2 == 0 { 'a' } else { 'b' }))
        .collect()
}

/// The machine's address. Nobody has one of 198.18.0.0/15, which is for benchmarks (RFC 2544), and nothing is there: an order
/// to reboot that went there for real would reach no machine. Nor is it a loopback address, which is no other machine's.
/// It goes by the name alone, so that machines of several `Kubelet`s on one cluster do not share theirs.
pub fn internal_ip(name: &str) -> Ipv4Addr {
    let [high, low] = (number(name) + 1).to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

/// Where its kubelet's server can be called, if one is started: on loopback.
pub fn served_ip(name: &str) -> Ipv4Addr {
    let [_, _, high, low] = internal_ip(name).octets();
    Ipv4Addr::new(127, 32, high, low)
}

/// Names by [`default_names`] are counted through; all others get what their hash says.
pub(super) fn number(name: &str) -> u16 {
    const OTHERS: u16 = 0x8000;
    let chassis = |rest: &str| rest.parse::<u16>().ok().filter(|chassis| (1..=OTHERS / 2).contains(chassis));
    let counted = name.strip_prefix("worker").and_then(|rest| {
        let (rest, second) =
            rest.strip_suffix('a').map(|rest| (rest, 0)).or(rest.strip_suffix('b').map(|rest| (rest, 1)))?;
        Some((chassis(rest)? - 1) * 2 + second)
    });
    counted.unwrap_or_else(|| {
        let hash = fnv::hash(name.bytes()) % u64::from(OTHERS - 2);
        OTHERS + u16::try_from(hash).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_by_twos() {
        assert_eq!(default_names(5), ["worker1a", "worker1b", "worker2a", "worker2b", "worker3a"]);
        assert_eq!(default_names(5000)[4999], "worker2500b");
    }

    #[test]
    fn every_machine_has_an_address_of_its_own() {
        let names = default_names(5000);
        let mut all: Vec<_> = names.iter().map(|name| internal_ip(name)).collect();
        assert!(all.is_sorted());
        assert_eq!((all[0], all[4999]), (Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 19, 136)));
        all.dedup();
        assert_eq!(all.len(), 5000);
        for other in ["w1", "worker", "workera", "worker0a", "worker99999b", "wörker1a"] {
            let [first, second, third, _] = internal_ip(other).octets();
            assert!(first == 198 && second == 18 && third >= 128, "{other}");
            assert_eq!(served_ip(other).octets()[2..], internal_ip(other).octets()[2..]);
        }
    }
}
