//! Whether what somebody typed may hold a secret, and is not to be shown. In doubt it may.

/// Parts of words that speak of one.
const NAMES: [&str; 8] =
    ["pass", "pwd", "secret", "token", "credential", "apikey", "authorization", "bearer"];

/// Of a command: `ipmitool -P …`, `curl -u user:…`, `sshpass -p …`, a URL with a password; also within quotes.
pub fn in_command(text: &str) -> bool {
    let words = text.split_whitespace().map(|word| word.trim_matches(['\'', '"']));
    let mut before = "";
    words.into_iter().any(|word| {
        let option = std::mem::replace(&mut before, word);
        let lower = word.to_lowercase();
        let names_user =
            ["-u", "--user"].contains(&option) || word.starts_with("-u") || word.starts_with("--user=");
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        NAMES.iter().any(|name| lower.contains(name))
            || in_url(word)
            || word.starts_with("-P")
            || (option == "-p" && !is_number)
            || (option == "-k" && !word.starts_with('-') && !word.contains("://"))
            || (names_user && word.contains(':'))
    })
}

/// `scheme://user:password@host`.
pub fn in_url(text: &str) -> bool {
    text.split("://")
        .skip(1)
        .any(|rest| rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_hold_a_secret() {
        for command in [
            "ipmitool -H bmc -U admin -P hunter2 power cycle",
            "ipmitool -H bmc -Phunter2 power cycle",
            "ipmitool -H bmc -k 0x1234 power cycle",
            "sshpass -p hunter2 ssh root@bmc reset",
            "curl -u admin:hunter2 -X POST https://bmc/redfish",
            "curl -uadmin:hunter2 https://bmc",
            "curl --user=admin:hunter2 https://bmc",
            "curl -H 'Authorization: Basic YTpi' https://bmc",
            "curl https://admin:hunter2@bmc/redfish",
            "bmc --password hunter2",
            "env BMC_PASSWORD=hunter2 bmc reset",
            "env API_TOKEN=x bmc reset",
            "sh -c 'ipmitool -P hunter2 power cycle'",
            "sh -c \"sh -c 'ipmitool -P hunter2 x'\"",
        ] {
            assert!(in_command(command), "{command}");
        }
        for command in [
            "ipmitool -H {node}.bmc.example -p 623 -f /etc/bmc power cycle",
            "ipmitool -E -H {address} power cycle",
            "curl -k --netrc-file /etc/bmc https://{address}/redfish",
            "touch /tmp/x",
            "sh -c 'reboot {node}; echo done'",
        ] {
            assert!(!in_command(command), "{command}");
        }
        assert!(in_url("https://a:b@h/") && in_url("x https://a@h"));
        assert!(!in_url("https://h/a@b") && !in_url("a@b") && !in_url("https://h?to=a@b"));
    }
}
