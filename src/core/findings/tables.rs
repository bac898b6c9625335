//! Figures of a machine that stand out.

use super::Finding;

/// A disk is as good as full from here on: kubelets evict at 85 and 90 %.
const FULL: u64 = 90;
/// Of connections that the kernel can track; beyond the limit it drops packets.
const NEARLY: u64 = 80;

pub(super) fn in_file(name: &str, file: &str, text: &str) -> Vec<Finding> {
    let stem = name.split('.').next().unwrap_or(name);
    let found: Vec<(String, String)> = match stem {
        "df" => full(text, "full disk"),
        "df-inodes" => full(text, "no inodes left"),
        "failed-units" => failed_units(text),
        "pressure" => pressure(text),
        "conntrack" => conntrack(text).into_iter().collect(),
        "edac" => edac(text),
        "pstore" => text.lines().find(|line| !line.trim().is_empty()).into_iter().map(crash).collect(),
        "timedatectl" => clock(text).into_iter().collect(),
        "sysctl" => taint(text).into_iter().collect(),
        "meminfo" => memory(text).into_iter().collect(),
        "mounts" => read_only(text),
        "healthz" => lines_with(text, "[-]", "kubelet unwell"),
        _ => Vec::new(),
    };
    found.into_iter().map(|(what, evidence)| Finding::new(what, &evidence, file)).collect()
}

fn lines_with(text: &str, part: &str, what: &str) -> Vec<(String, String)> {
    text.lines().filter(|line| line.contains(part)).map(|line| (what.to_owned(), line.to_owned())).collect()
}

/// `df`: the columns before the mount point end with a percentage. What cannot grow is full by its nature.
fn full(text: &str, what: &str) -> Vec<(String, String)> {
    let rows = text.lines().filter(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let cannot_grow = words.iter().take(2).any(|word| ["squashfs", "iso9660", "erofs"].contains(word))
            || words.last().is_some_and(|place| place.starts_with("/snap/"));
        let used = words.iter().rev().find_map(|word| word.strip_suffix('%')?.parse::<u64>().ok());
        !cannot_grow && used.is_some_and(|used| used >= FULL)
    });
    rows.map(|row| (what.to_owned(), words(row))).collect()
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `systemctl list-units --failed`
fn failed_units(text: &str) -> Vec<(String, String)> {
    let is_failed = |line: &&str| {
        let mut words = line.trim_start_matches(['●', '*', '×', ' ']).split_whitespace();
        words.next().is_some_and(|unit| unit.contains('.')) && words.any(|word| word == "failed")
    };
    text.lines()
        .filter(is_failed)
        .map(|line| ("failed unit".to_owned(), words(line.trim_start_matches(['●', '*', '×', ' ']))))
        .collect()
}

/// `/proc/pressure/memory:full avg10=31.20 avg60=24.10 avg300=12.00 total=…`: the part of the time in which tasks waited.
fn pressure(text: &str) -> Vec<(String, String)> {
    let stands_out = |line: &&str| {
        let limit = match (line.contains("/cpu:"), line.contains(":full ")) {
            (true, false) => 50.0,
            (_, true) => 5.0,
            (false, false) => 20.0,
        };
        let averages = line
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("avg60=").or(word.strip_prefix("avg300=")));
        averages.filter_map(|value| value.parse::<f64>().ok()).any(|value| value >= limit)
    };
    let name = |line: &str| {
        line.split([':', ' ']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
    };
    text.lines()
        .filter(stands_out)
        .map(|line| (format!("{} pressure", name(line)), line.to_owned()))
        .collect()
}

/// The number behind the last colon or equals sign of the line in which `name` is.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(name))?;
    let value = line.rsplit([':', '=']).next()?;
    value.split_whitespace().next()?.parse().ok()
}

fn conntrack(text: &str) -> Option<(String, String)> {
    let (count, max) = (number(text, "nf_conntrack_count")?, number(text, "nf_conntrack_max")?);
    let is_nearly_full = count >= max.saturating_mul(NEARLY) / 100;
    is_nearly_full.then(|| ("conntrack nearly full".to_owned(), format!("{count} of {max} connections")))
}

/// Counters of corrected and uncorrected errors, per memory controller and module.
fn edac(text: &str) -> Vec<(String, String)> {
    let is_error = |line: &&str| {
        let (name, value) = line.rsplit_once(':').unwrap_or((line, ""));
        name.ends_with("_count") && value.trim().parse::<u64>().is_ok_and(|count| count > 0)
    };
    text.lines().filter(is_error).map(|line| ("memory error (EDAC)".to_owned(), line.to_owned())).collect()
}

fn crash(line: &str) -> (String, String) {
    ("crash kept by the firmware".to_owned(), line.to_owned())
}

fn clock(text: &str) -> Option<(String, String)> {
    let line = text.lines().find(|line| {
        let line = line.trim();
        line.starts_with("System clock synchronized:") || line.starts_with("NTP synchronized:")
    })?;
    line.trim().ends_with("no").then(|| ("clock not synchronised".to_owned(), line.to_owned()))
}

/// Bits of `kernel.tainted` that say that something went wrong, not that a module is another's.
fn taint(text: &str) -> Option<(String, String)> {
    const WRONG: [(u32, &str); 5] = [
        (4, "machine check"),
        (5, "bad page"),
        (7, "died (oops or BUG)"),
        (9, "warning"),
        (14, "soft lockup"),
    ];
    let line = text.lines().find(|line| line.starts_with("kernel.tainted"))?;
    let value = number(line, "kernel.tainted")?;
    let set: Vec<&str> =
        WRONG.iter().filter(|(bit, _)| value & (1 << bit) != 0).map(|(_, name)| *name).collect();
    (!set.is_empty()).then(|| ("tainted kernel".to_owned(), format!("{line}: {}", set.join(", "))))
}

fn memory(text: &str) -> Option<(String, String)> {
    let (total, available) = (number(text, "MemTotal:")?, number(text, "MemAvailable:")?);
    let is_little = available < total / 20;
    is_little.then(|| ("hardly any memory left".to_owned(), format!("{available} of {total} kB available")))
}

/// A disk's file system that was mounted read-only, or has become so.
fn read_only(text: &str) -> Vec<(String, String)> {
    let is_read_only = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(&words[..], [device, _, kind, options, ..]
            if device.starts_with("/dev/") && !["squashfs", "iso9660", "erofs"].contains(kind)
                && !device.starts_with("/dev/loop") && options.split(',').any(|option| option == "ro"))
    };
    text.lines()
        .filter(is_read_only)
        .map(|line| ("read-only file system".to_owned(), line.to_owned()))
        .collect()
}
