//! What a helper pod prints that collects diagnostics on its machine. Nothing runs: each command "says" its own words.

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// The container's name.
pub(crate) const CONTAINER: &str = "collect";

/// The log of its container, as its script would have written it: a frame for each of the items that it asks for.
pub(crate) fn log(pod: &Value) -> Option<String> {
    let mut containers = pod["spec"]["containers"].as_array()?.iter();
    let container = containers.find(|container| container["name"] == CONTAINER)?;
    let (script, mark) = (container["args"][0].as_str()?, container["args"][1].as_str()?);
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let mut log = format!("{mark} begin\n");
    let items = script.lines().filter_map(|line| line.strip_prefix("item "));
    let mut count = 0;
    for item in items {
        count += 1;
        let words: Vec<&str> = item.split(' ').skip(3).map(|word| word.trim_matches('\'')).collect();
        let said = if words.contains(&"info") {
            format!("{{\"node\": \"{node}\", \"password\": \"hunter2-of-the-host\"}}\n") // crictl's is JSON
        } else {
            format!("{} on {node}\npassword=hunter2-of-the-host\n", words.join(" "))
        };
        writeln!(log, "{mark} {count} 0 0").ok()?;
        for line in STANDARD.encode(gzip(said.as_bytes())?).as_bytes().chunks(76) {
            log += std::str::from_utf8(line).ok()?;
            log += "\n";
        }
    }
    writeln!(log, "{mark} end {count}").ok()?;
    Some(log)
}

fn gzip(content: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).ok()?;
    encoder.finish().ok()
}
