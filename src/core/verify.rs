//! Whether a node is as it was before its reboot, and stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::node::{Condition, FALSE, TRUE};
use super::remediation::{Baseline, Reason};

/// The part of its memory that a node has to come back with: a new kernel takes a little more.
const MEMORY: f64 = 0.98;

/// What a verification looks at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VerifySeen {
    pub conditions: Vec<Condition>,
    /// The types of the conditions whose heartbeat has moved since the boot was proven.
    pub refreshed: BTreeSet<String>,
    /// `namespace/name` of the `DaemonSets` whose pod here is Ready.
    pub daemonsets_ready: BTreeSet<String>,
    pub allocatable: BTreeMap<String, String>,
    pub csi_drivers: Vec<String>,
    /// What the sources say of the alerts of the run; `None`: they are not asked.
    pub alerts: Option<AlertsSeen>,
}

/// What became of the alerts that caused a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertsSeen {
    /// None fires, and the sources are believed.
    Gone,
    /// The conditions that still have one.
    Firing(Vec<String>),
    /// None is listed, but that means nothing: why.
    Untrusted(String),
}

/// One line of the verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub passed: bool,
    pub why: String,
}

impl Check {
    fn new(name: impl Into<String>, why: Result<String, String>) -> Self {
        let passed = why.is_ok();
        Self { name: name.into(), passed, why: why.unwrap_or_else(|why| why) }
    }
}

/// Every check, those that pass too.
pub fn checks(baseline: &Baseline, reasons: &[Reason], seen: &VerifySeen) -> Vec<Check> {
    let mut checks = vec![ready(seen)];
    checks.extend(
        ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"]
            .iter()
            .filter_map(|type_| pressure(type_, seen)),
    );
    checks.extend(baseline.daemonsets.iter().map(|name| daemonset(name, seen)));
    checks.extend(baseline.allocatable.iter().filter_map(|(name, before)| resource(name, before, seen)));
    checks.extend(baseline.csi_drivers.iter().map(|name| driver(name, seen)));
    // That a node was not Ready is Ready's own check.
    let types: BTreeSet<&str> = reasons.iter().map(|reason| &*reason.condition_type).collect();
    checks.extend(types.into_iter().filter(|type_| *type_ != "Ready").map(|type_| reason(type_, seen)));
    checks.extend(seen.alerts.as_ref().map(alerts));
    checks
}

fn alerts(seen: &AlertsSeen) -> Check {
    let why = match seen {
        AlertsSeen::Gone => Ok("are gone".to_owned()),
        AlertsSeen::Firing(types) => Err(format!("still fire: {}", types.join(", "))),
        AlertsSeen::Untrusted(why) => Err(format!("may still fire: {why}")),
    };
    Check::new("alerts", why)
}

/// By API convention a type is there once; if not, the worst counts.
fn statuses<'s>(type_: &str, seen: &'s VerifySeen) -> Vec<&'s Condition> {
    seen.conditions.iter().filter(|condition| condition.type_ == type_).collect()
}

fn ready(seen: &VerifySeen) -> Check {
    let found = statuses("Ready", seen);
    let why = match found.iter().find(|condition| condition.status != TRUE) {
        Some(condition) => Err(format!("is {}: {}", condition.status, condition.reason)),
        None if found.is_empty() => Err("is missing".to_owned()),
        None => Ok("is True".to_owned()),
    };
    Check::new("Ready", why)
}

/// Not every node has each of them.
fn pressure(type_: &str, seen: &VerifySeen) -> Option<Check> {
    let found = statuses(type_, seen);
    let bad = found.iter().find(|condition| condition.status != FALSE);
    let why = match bad {
        Some(condition) => Err(format!("is {}: {}", condition.status, condition.reason)),
        None => Ok("is False".to_owned()),
    };
    (!found.is_empty()).then(|| Check::new(type_, why))
}

fn daemonset(name: &str, seen: &VerifySeen) -> Check {
    let ready = seen.daemonsets_ready.contains(name);
    let why = if ready { Ok("Ready again".to_owned()) } else { Err("its pod is not Ready".to_owned()) };
    Check::new(format!("DaemonSet {name}"), why)
}

fn driver(name: &str, seen: &VerifySeen) -> Check {
    let back = seen.csi_drivers.iter().any(|driver| driver == name);
    let why = if back { Ok("registered again".to_owned()) } else { Err("is not registered".to_owned()) };
    Check::new(format!("CSI driver {name}"), why)
}

/// CPU, memory, and what device plugins register (`nvidia.com/gpu`).
fn resource(name: &str, before: &str, seen: &VerifySeen) -> Option<Check> {
    let part = match name {
        "memory" => MEMORY,
        "cpu" => 1.0,
        extended if extended.contains('/') => 1.0,
        _ => return None,
    };
    let now = seen.allocatable.get(name).map_or("0", String::as_str);
    let enough = match (quantity(before), quantity(now)) {
        (Some(before), Some(now)) => now >= before * part,
        _ => before == now,
    };
    let why = if enough { Ok(now.to_owned()) } else { Err(format!("is {now}, was {before}")) };
    Some(Check::new(format!("allocatable {name}"), why))
}

/// A condition that caused the run. One that nobody has refreshed since the boot says nothing about now; then the alerts
/// themselves decide, if they were asked.
fn reason(type_: &str, seen: &VerifySeen) -> Check {
    let firing = statuses(type_, seen).into_iter().find(|condition| condition.status == TRUE);
    let why = match firing {
        None => Ok("is no longer True".to_owned()),
        Some(_) if seen.refreshed.contains(type_) => Err("is still True".to_owned()),
        Some(_) if seen.alerts == Some(AlertsSeen::Gone) => {
            Ok("was not refreshed since the boot; its alerts are gone".to_owned())
        }
        Some(_) => Err("is True, but was not refreshed since the boot: does sync run?".to_owned()),
    };
    Check::new(type_, why)
}

/// A quantity as the API spells it: `4`, `3920m`, `16Gi`, `1e3`.
fn quantity(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')));
    let (number, suffix) = text.split_at(digits.unwrap_or(text.len()));
    if let Some(power) = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|unit| *unit == suffix) {
        return Some(number.parse::<f64>().ok()? * 1024f64.powi(i32::try_from(power).ok()? + 1));
    }
    let decimals = [
        ("n", -9),
        ("u", -6),
        ("m", -3),
        ("", 0),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
    ];
    let exponent = match decimals.iter().find(|(unit, _)| *unit == suffix) {
        Some((_, exponent)) => *exponent,
        None => suffix.strip_prefix(['e', 'E'])?.parse::<i16>().ok()?,
    };
    // As one decimal number: so 100m is 0.1 to the last bit.
    format!("{number}e{exponent}").parse().ok().filter(|number: &f64| number.is_finite())
}

/// Whether all checks hold for long enough without a flap.
#[derive(Debug, Clone)]
pub struct Soak {
    stable_for: Duration,
    /// On which boot, and since when, all hold.
    holds: Option<(String, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoakState {
    Failing,
    /// For this long.
    Holding(Duration),
    Held,
}

impl Soak {
    pub fn new(stable_for: Duration) -> Self {
        Self { stable_for, holds: None }
    }

    /// `at` is a time that only goes forward. Whoever has not looked for a while [restarts](Self::restart) first.
    pub fn observe(&mut self, passed: bool, boot_id: &str, at: Duration) -> SoakState {
        if !passed {
            self.holds = None;
            return SoakState::Failing;
        }
        let since = match &self.holds {
            Some((boot, since)) if boot == boot_id => *since,
            _ => at,
        };
        self.holds = Some((boot_id.to_owned(), since));
        let held = at.saturating_sub(since);
        if held >= self.stable_for { SoakState::Held } else { SoakState::Holding(held) }
    }

    /// A flap may have gone unseen.
    pub fn restart(&mut self) {
        self.holds = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Worsen = fn(&mut VerifySeen);

    fn condition(type_: &str, status: &str) -> Condition {
        Condition { type_: type_.to_owned(), status: status.to_owned(), ..Condition::default() }
    }

    fn before() -> Baseline {
        Baseline {
            daemonsets: vec!["kube-system/cni".to_owned()],
            allocatable: [
                ("cpu", "3920m"),
                ("memory", "32986184Ki"),
                ("nvidia.com/gpu", "8"),
                ("pods", "110"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            csi_drivers: vec!["ebs.csi.aws.com".to_owned()],
            ready_heartbeat: None,
        }
    }

    fn good() -> VerifySeen {
        VerifySeen {
            conditions: vec![condition("Ready", "True"), condition("DiskPressure", "False")],
            daemonsets_ready: ["kube-system/cni".to_owned()].into(),
            allocatable: before().allocatable,
            csi_drivers: before().csi_drivers,
            ..VerifySeen::default()
        }
    }

    fn failing(seen: &VerifySeen) -> Vec<String> {
        let reasons = ["Ready", "Sciuro_X"].map(|type_| Reason {
            condition_type: type_.to_owned(),
            reason: String::new(),
            last_transition: None,
        });
        let checks = checks(&before(), &reasons, seen);
        checks
            .into_iter()
            .filter(|check| !check.passed)
            .map(|check| format!("{} {}", check.name, check.why))
            .collect()
    }

    #[test]
    fn a_node_as_it_was_passes() {
        assert_eq!(failing(&good()), Vec::<String>::new());
        assert_eq!(checks(&before(), &[], &good()).len(), 7, "pods is not compared, nor what the node lacks");
    }

    #[test]
    fn what_is_worse_than_before_fails() {
        let cases: [(&str, Worsen); 13] = [
            ("Ready is missing", |seen| seen.conditions.clear()),
            ("Ready is Unknown: ", |seen| seen.conditions[0] = condition("Ready", "Unknown")),
            ("Ready is False: ", |seen| seen.conditions.push(condition("Ready", "False"))),
            ("DiskPressure is True: ", |seen| seen.conditions[1] = condition("DiskPressure", "True")),
            ("NetworkUnavailable is True: ", |seen| {
                seen.conditions.push(condition("NetworkUnavailable", "True"));
            }),
            ("DaemonSet kube-system/cni its pod is not Ready", |seen| seen.daemonsets_ready.clear()),
            ("allocatable cpu is 3919m, was 3920m", |seen| allocatable(seen, "cpu", "3919m")),
            ("allocatable nvidia.com/gpu is 7, was 8", |seen| allocatable(seen, "nvidia.com/gpu", "7")),
            ("allocatable nvidia.com/gpu is 0, was 8", |seen| {
                drop(seen.allocatable.remove("nvidia.com/gpu"));
            }),
            ("allocatable memory is 30Gi, was 32986184Ki", |seen| allocatable(seen, "memory", "30Gi")),
            ("CSI driver ebs.csi.aws.com is not registered", |seen| seen.csi_drivers.clear()),
            ("Sciuro_X is True, but was not refreshed since the boot: does sync run?", |seen| {
                seen.conditions.push(condition("Sciuro_X", "True"));
            }),
            ("alerts still fire: AlertManager_Hot", |seen| {
                seen.alerts = Some(AlertsSeen::Firing(vec!["AlertManager_Hot".to_owned()]));
            }),
        ];
        for (why, worsen) in cases {
            let mut seen = good();
            worsen(&mut seen);
            assert_eq!(failing(&seen), [why]);
        }
    }

    fn allocatable(seen: &mut VerifySeen, name: &str, value: &str) {
        seen.allocatable.insert(name.to_owned(), value.to_owned());
    }

    #[test]
    fn a_kernel_may_take_a_little_memory() {
        let mut seen = good();
        allocatable(&mut seen, "memory", "32400000Ki");
        assert_eq!(failing(&seen), Vec::<String>::new());
    }

    #[test]
    fn alerts_that_are_gone_beat_a_stale_condition_only() {
        let mut seen = good();
        seen.conditions.push(condition("Sciuro_X", "True"));
        seen.alerts = Some(AlertsSeen::Gone);
        assert_eq!(failing(&seen), Vec::<String>::new());
        seen.refreshed.insert("Sciuro_X".to_owned());
        assert_eq!(failing(&seen), ["Sciuro_X is still True"]);
    }

    #[test]
    fn quantities_are_read_as_the_api_spells_them() {
        let same = [
            ["4", "4000m"],
            ["0.1", "100m"],
            ["3.92", "3920m"],
            ["1e3", "1k"],
            ["1E3", "1000"],
            ["1E", "1e18"],
            ["16Gi", "16777216Ki"],
            ["1Mi", "1048576"],
            ["+5", "5"],
            ["100n", "0.1u"],
        ];
        for [one, other] in same {
            let both = (quantity(one), quantity(other));
            assert!(both.0.is_some() && both.0 == both.1, "{one} {other} {both:?}");
        }
        for wrong in ["", "x", "4x", "inf", "NaN", "1e", "1e999", "--1", "1ee3", "4 Gi", "Gi"] {
            assert_eq!(quantity(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_soak_is_without_a_flap_and_within_one_boot() {
        let at = Duration::from_secs;
        let mut soak = Soak::new(at(60));
        assert_eq!(soak.observe(true, "a", at(100)), SoakState::Holding(at(0)));
        assert_eq!(soak.observe(true, "a", at(159)), SoakState::Holding(at(59)));
        assert_eq!(soak.observe(false, "a", at(159)), SoakState::Failing);
        assert_eq!(soak.observe(true, "a", at(160)), SoakState::Holding(at(0)));
        assert_eq!(soak.observe(true, "b", at(200)), SoakState::Holding(at(0)), "another boot");
        soak.restart();
        assert_eq!(soak.observe(true, "b", at(250)), SoakState::Holding(at(0)));
        assert_eq!(soak.observe(true, "b", at(310)), SoakState::Held);
        assert_eq!(Soak::new(at(0)).observe(true, "a", at(1)), SoakState::Held);
    }
}
