//! What nobody may read in an output.

use super::Servers;

/// Every token, password and argument in the tables has this in it.
const MARK: &str = "s3cr3t";

/// What of all secrets is in this output: marked words, and lines of private keys, as they are and in base64.
pub(super) fn shown_in(said: &str, servers: &Servers) -> Vec<String> {
    let mut secrets = vec![MARK.to_owned(), base64_of(MARK)];
    for (_, word) in servers.words.iter().filter(|(name, _)| name.starts_with("key")) {
        let lines = word.lines().filter(|line| !line.contains("-----"));
        secrets.extend(lines.map(|line| line[..line.len().min(48)].to_owned()));
    }
    secrets.retain(|secret| said.contains(secret.as_str()));
    secrets
}

/// As it begins in base64, whatever follows.
fn base64_of(text: &str) -> String {
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, text);
    encoded[..text.len() / 3 * 4].to_owned()
}
