//! Addresses as texts: one spelling for each, and which of them lead to whoever uses them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address in its one form: IPv4 that is written as IPv6 (mapped, compatible, or through NAT64) is IPv4.
pub fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(canonical)
}

pub fn canonical(address: IpAddr) -> IpAddr {
    /// RFC 4291 §2.5.5.1 and RFC 6052 §2.1.
    const PREFIXES: [[u16; 6]; 2] = [[0; 6], [0x64, 0xFF9B, 0, 0, 0, 0]];
    match address.to_canonical() {
        IpAddr::V6(v6) if v6 != Ipv6Addr::UNSPECIFIED && v6 != Ipv6Addr::LOCALHOST => {
            let octets = v6.octets();
            let has = |prefix: &[u16; 6]| v6.segments().starts_with(prefix);
            if PREFIXES.iter().any(has) {
                IpAddr::from([octets[12], octets[13], octets[14], octets[15]])
            } else {
                IpAddr::V6(v6)
            }
        }
        address => address,
    }
}

/// The address that programs take this for: also IPv4 in another form than four decimal numbers, as `inet_aton(3)` reads it.
pub fn meant(text: &str) -> Option<IpAddr> {
    ip(text).or_else(|| aton(text).map(IpAddr::V4))
}

fn aton(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    };
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    // The last one stands for all bytes that are left.
    let (last, first) = numbers.split_last()?;
    let bits = 32_u32.checked_sub(8 * u32::try_from(first.len()).ok()?).filter(|bits| *bits > 0)?;
    let fits = u64::from(*last) < 1 << bits && first.iter().all(|byte| *byte < 256);
    let head = first.iter().zip([24, 16, 8]).fold(0, |head, (byte, shift)| head | byte << shift);
    fits.then(|| Ipv4Addr::from(head | last))
}

/// What could be a host in a URL or the like: each part between slashes, and that without its port.
pub fn hosts(text: &str) -> impl Iterator<Item = &str> {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text.split('/').filter(|part| !part.is_empty());
    parts.flat_map(move |part| {
        let host = part.rsplit_once(':').filter(|(_, port)| is_port(port)).map(|(host, _)| host);
        [Some(part), host].into_iter().flatten()
    })
}

/// Whether it means the machine that uses it, whichever that is.
pub fn is_loopback(name: &str) -> bool {
    if let Some(address) = ip(name) {
        return address.is_loopback() || address.is_unspecified();
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    ["localhost", "localhost.localdomain", "ip6-localhost"].contains(&&*name) || name.ends_with(".localhost")
}

/// RFC 1123: labels of letters, digits and inner hyphens.
pub fn is_dns_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_may_stand_in_a_command_line() {
        for good in ["w1", "w1.example.org", "10-0-0-1.ec2.internal", "1"] {
            assert!(is_dns_name(good), "{good}");
        }
        for bad in ["", "-oProxyCommand=x", "a b", "a\n", "w1.", ".w1", "w1-", "a@b", "a;b", "$(x)", "ä"] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }

    #[test]
    fn f9_b3_what_programs_take_for_an_address() {
        for text in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0X7F.1",
            "017700000001",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(meant(text), Some(IpAddr::from([127, 0, 0, 1])), "{text}");
        }
        for none in
            ["", ".", "1.2.3.4.5", "256.1", "1.2.3.256", "4294967296", "0x", "09", "i-0abc", "127.1.", "-1"]
        {
            assert_eq!(meant(none), None, "{none}");
        }
        let all: Vec<&str> = hosts("ipmi://10.0.0.7:623/a:b").collect();
        assert_eq!(all, ["ipmi:", "10.0.0.7:623", "10.0.0.7", "a:b"]);
    }

    #[test]
    fn one_form_for_each_address() {
        for (text, expected) in [
            ("10.0.0.7", "10.0.0.7"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
            ("::FFFF:a00:7", "10.0.0.7"),
            ("::10.0.0.7", "10.0.0.7"),
            ("64:ff9b::a00:7", "10.0.0.7"),
            ("2001:DB8:0::7", "2001:db8::7"),
            ("::", "::"),
            ("::1", "::1"),
        ] {
            assert_eq!(ip(text).map(|address| address.to_string()).as_deref(), Some(expected), "{text}");
        }
        for none in ["127.1", "2130706433", "0x7f000001", "010.0.0.1", "fe80::1%eth0", "[::1]", ""] {
            assert_eq!(ip(none), None, "{none}");
        }
    }

    #[test]
    fn what_leads_to_whoever_uses_it() {
        for loopback in [
            "127.0.0.1",
            "127.3.2.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "localhost",
            "w1.localhost",
        ] {
            assert!(is_loopback(loopback), "{loopback}");
        }
        for other in ["10.0.0.7", "fe80::1", "localhost.example", "notlocalhost", ""] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
