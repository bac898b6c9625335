//! What somebody typed and may be a secret is not to be shown. In doubt it may.

/// Parts of words that speak of one.
const NAMES: [&str; 8] =
    ["pass", "pwd", "secret", "token", "credential", "apikey", "authorization", "bearer"];

const MASK: &str = "***";

fn names_one(text: &str) -> bool {
    let lower = text.to_lowercase();
    NAMES.iter().any(|name| lower.contains(name))
}

/// A command's words, with `***` where a secret may be.
pub fn masked(argv: &[String]) -> Vec<String> {
    let befores = [""].into_iter().chain(argv.iter().map(String::as_str));
    befores
        .zip(argv)
        .map(|(before, word)| if before.is_empty() { word.clone() } else { mask(before, word) })
        .collect()
}

/// A word that stands behind this one.
fn mask(before: &str, word: &str) -> String {
    let is_value = before.starts_with('-') && !before.contains('=') && names_one(before);
    if is_value || is_secret_of(before, word) || (word.contains(char::is_whitespace) && in_command(word)) {
        return MASK.to_owned();
    }
    match word.split_once('=') {
        Some((name, _)) if names_one(name) || name == "--user" => return format!("{name}={MASK}"),
        _ => {}
    }
    if (word.starts_with("-P") && word.len() > 2) || (word.starts_with("-u") && word.contains(':')) {
        return format!("{}{MASK}", &word[..2]);
    }
    if names_one(word) && (!word.starts_with('-') || word.contains(':')) {
        return MASK.to_owned();
    }
    without_logins(word)
}

/// A text with `***` in place of the logins of URLs in it.
pub fn without_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |before, rest| {
        let end = rest.find(AFTER_HOST).unwrap_or(rest.len());
        let host =
            rest[..end].rfind('@').map_or_else(|| rest.to_owned(), |at| format!("{MASK}{}", &rest[at..]));
        format!("{before}://{host}")
    })
}

/// What ends the part of a URL that may have a login.
const AFTER_HOST: [char; 3] = ['/', '?', '#'];

/// The word behind `-P`, `-p`, `-k` or `-u`.
fn is_secret_of(option: &str, word: &str) -> bool {
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    match option {
        "-P" => true,
        "-p" => !is_number,
        "-k" => !word.starts_with('-') && !word.contains("://"),
        "-u" | "--user" => word.contains(':'),
        _ => false,
    }
}

/// Of a command: `ipmitool -P …`, `curl -u user:…`, `sshpass -p …`, a URL with a password; also within quotes.
pub fn in_command(text: &str) -> bool {
    let words = text.split_whitespace().map(|word| word.trim_matches(['\'', '"']));
    let mut before = "";
    words.into_iter().any(|word| {
        let option = std::mem::replace(&mut before, word);
        let names_user = word.starts_with("-u") || word.starts_with("--user=");
        names_one(word)
            || in_url(word)
            || word.starts_with("-P")
            || is_secret_of(option, word)
            || (names_user && word.contains(':'))
    })
}

/// `scheme://user:password@host`.
pub fn in_url(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| rest.split(AFTER_HOST).next().is_some_and(|host| host.contains('@')))
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
            // What the plan shows of it.
            let words = shlex::split(command).unwrap_or_default();
            let shown = masked(&words).join(" ");
            assert!(shown.contains("***"), "{shown}");
            for secret in ["hunter2", "0x1234", "YTpi", "TOKEN=x"] {
                assert!(!shown.contains(secret), "{command}: {shown}");
            }
        }
        for command in [
            "ipmitool -H {node}.bmc.example -p 623 -f /etc/bmc power cycle",
            "ipmitool -E -H {address} power cycle",
            "curl -k --netrc-file /etc/bmc https://{address}/redfish",
            "touch /tmp/x",
            "sh -c 'reboot {node}; echo done'",
        ] {
            assert!(!in_command(command), "{command}");
            let words = shlex::split(command).unwrap_or_default();
            assert_eq!(masked(&words), words);
        }
        let words =
            ["bmc", "--password", "-x", "https://joe:hunter2@bmc/a@b", "-d{\"Password\":\"hunter2\"}"];
        let shown = masked(&words.map(String::from));
        assert_eq!(shown, ["bmc", "--password", "***", "https://***@bmc/a@b", "***"]);
        assert_eq!(
            without_logins("invalid value 'http://a:b c@h/x@y' for x://u@i/"),
            "invalid value 'http://***@h/x@y' for x://***@i/"
        );
        assert!(in_url("https://a:b@h/") && in_url("x https://a@h"));
        assert!(!in_url("https://h/a@b") && !in_url("a@b") && !in_url("https://h?to=a@b"));
    }
}
