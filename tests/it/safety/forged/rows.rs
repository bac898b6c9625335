//! The rows of the issue, as its reporter found them. Each is carried out as a random case is, and either reaches its own
//! machine or nobody.

use serde_json::{Value, json};

use super::errand::{Errand, Task};
use super::forgery::{Forgery, record};
use super::stage::Stage;
use super::{apart, at_once};
use crate::support::World;

/// What a row comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Comes {
    /// Nobody is told to reboot; this exit code, and this among what is said.
    Nothing(i32, &'static str),
    /// The machine of the node itself reboots, so often.
    Itself(usize),
    /// Only what `sync` and `status` do is looked at.
    Synced(&'static [&'static str]),
}

struct Row {
    name: String,
    forged: Forgery,
    /// Written when the run has sent so many requests.
    then: Option<(usize, Forgery)>,
    errand: Errand,
    comes: Comes,
}

use Comes::{Itself, Nothing, Synced};

fn row(name: &str, forged: Forgery, errand: Errand, comes: Comes) -> Row {
    Row { name: name.to_owned(), forged, then: None, errand, comes }
}

fn at(address: &'static str) -> Forgery {
    Forgery { addresses: vec![("InternalIP", address)], ..Forgery::default() }
}

fn recorded(forgery: Forgery, changes: &Value) -> Forgery {
    Forgery { record: Some(record(changes)), ..forgery }
}

fn by_command(task: Task, words: &'static str) -> Errand {
    Errand { words, ..Errand::new(task, "command") }
}

fn honest() -> Forgery {
    Forgery::default()
}

fn twin(boot_id: &'static str, address: &'static str) -> Forgery {
    Forgery { boot_id: Some(boot_id), ..at(address) }
}

fn ssh(task: Task) -> Errand {
    Errand::new(task, "ssh")
}

fn pod(task: Task) -> Errand {
    Errand::new(task, "pod")
}

fn records() -> Vec<Row> {
    let by_ssh =
        json!({"n": 1, "method": "ssh", "intentAt": "2026-01-01T00:00:00Z", "notAfterUptime": u64::MAX});
    vec![
        row("an honest kubelet, by pod", honest(), pod(Task::Fresh), Itself(1)),
        row("an honest kubelet, over ssh", honest(), ssh(Task::Fresh), Itself(1)),
        row(
            "an honest kubelet, by a command",
            honest(),
            by_command(Task::Fresh, "{node} {address}"),
            Itself(1),
        ),
        row(
            "B1 a peer's boot and address",
            recorded(twin("{peer-boot}", "{peer-ip}"), &json!({"method": "ssh"})),
            ssh(Task::Resume),
            Nothing(3, "refused"),
        ),
        row(
            "B1 the operator's boot, and localhost",
            recorded(twin("{host-boot}", "localhost"), &json!({"method": "ssh"})),
            ssh(Task::Resume),
            Nothing(3, "refused"),
        ),
        row(
            "B1 the operator's boot",
            recorded(twin("{host-boot}", "{own-ip}"), &json!({"method": "ssh"})),
            ssh(Task::Resume),
            Nothing(3, "refused: self"),
        ),
        row(
            "B2 an attempt by another method",
            recorded(honest(), &json!({"state": "RebootIntent", "method": "command", "attempts": [by_ssh]})),
            by_command(Task::Resume, "{node}"),
            Nothing(3, "not one of ours"),
        ),
        row(
            "B2 a helper of another remediation",
            recorded(
                honest(),
                &json!({"id": "{third-id}", "marks": [{"type": "cordon"},
                {"type": "silence", "id": "{third-silence}"},
                {"type": "helper", "namespace": "kube-system", "name": "sciuro-probe-{third-id8}"}]}),
            ),
            Errand { silences: true, ..pod(Task::Abort) },
            Nothing(0, "aborted"),
        ),
    ]
}

fn identities() -> Vec<Row> {
    vec![
        row("B5 a peer's boot", twin("{peer-boot}", "{own-ip}"), ssh(Task::Fresh), Nothing(3, "boot id")),
        row(
            "B5 a peer's boot, and a person who knows better",
            twin("{peer-boot}", "{own-ip}"),
            Errand { overrides: true, ..ssh(Task::Fresh) },
            Nothing(3, "--address-file"), // where it is is its own word, too
        ),
        row(
            "B4 a peer's names and addresses",
            Forgery {
                addresses: vec![
                    ("InternalDNS", "{peer-name}"),
                    ("ExternalIP", "{peer-ip}"),
                    ("InternalDNS", "{peer-name}.example.com"),
                    ("Hostname", "{rack}"),
                ],
                labels: vec![("kubernetes.io/hostname", "{peer-name}")],
                provider_id: Some("{peer-provider}"),
                ..honest()
            },
            pod(Task::Plan),
            Synced(&[]),
        ),
        row(
            "B9 an exporter that names a peer",
            honest(),
            pod(Task::Plan),
            Synced(&["--node-label", "node,host"]),
        ),
        row(
            "B6 an alert of another machine",
            Forgery {
                addresses: vec![("InternalIP", "{own-ip}"), ("ExternalDNS", "{peer-name}")],
                ..honest()
            },
            Errand { silences: true, ..pod(Task::Fresh) },
            Itself(1),
        ),
    ]
}

fn places() -> Vec<Row> {
    let mut rows = Vec::new();
    let elsewhere = [
        "{peer-ip}",
        "{peer-name}",
        "localhost",
        "::ffff:{peer-ip}",
        "{peer-decimal}",
        "db1.corp.example",
        "127.1",
        "2130706433",
        "0x7f000001",
        "::1",
        "::ffff:127.0.0.1",
        "{host-ip}",
    ];
    for (place, address) in elsewhere.into_iter().enumerate() {
        let ways = [
            ("ssh", ssh(Task::Fresh)),
            ("a command", by_command(Task::Fresh, "{address}")),
            ("a verification", Errand { verifies: Some("{address}"), ..pod(Task::Fresh) }),
        ];
        for (way, errand) in ways.into_iter().take(if place < 3 { 3 } else { 1 }) {
            rows.push(row(&format!("B3 {address} for {way}"), at(address), errand, Nothing(3, "refused")));
        }
    }
    for id in [
        "{peer-provider}",
        "metal3://ns/{peer-name}",
        "ipmi://{peer-ip}:623",
        "ipmi://{peer-decimal}",
        "ipmi://localhost:623",
        "ipmi://{host-ip}",
    ] {
        let forged = Forgery { provider_id: Some(id), ..honest() };
        let errand = by_command(Task::Fresh, "{provider-id}");
        rows.push(row(&format!("B3 {id}"), forged, errand, Nothing(3, "refused")));
    }
    for state in ["Verifying", "WaitBoot"] {
        let forged = recorded(
            at("{peer-ip}"),
            &json!({"state": state, "preBootID": "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11", "provenBootID": "{own-boot}", "method": "ssh"}),
        );
        let errand = Errand { verifies: Some("{address}"), ..ssh(Task::Resume) };
        rows.push(row(&format!("B3 a verification in {state}"), forged, errand, Nothing(3, "refused")));
    }
    rows
}

fn helpers() -> Vec<Row> {
    let in_places = vec![
        ("sciuro-probe-{own-id8}", "{own-id}", "boot_id={peer-boot}\nuptime=1\n"),
        ("sciuro-reboot-{own-id8}-1", "{own-id}", "issued\n"),
    ];
    let helpers = Forgery { pods: in_places, ..honest() };
    // Once its record is there, and before the machine is probed for the last time.
    let in_place = Row {
        then: Some((0, helpers.clone())),
        ..row("B7 pods in our helpers' places", recorded(honest(), &json!({})), pod(Task::Resume), Itself(1))
    };
    vec![in_place, row("B7 an abort", recorded(helpers, &json!({})), pod(Task::Abort), Nothing(0, "aborted"))]
}

pub(super) fn each_row_of_the_issue(world: fn() -> World) {
    let rows: Vec<Row> = [records(), identities(), places(), helpers()].into_iter().flatten().collect();
    let failed = at_once(&rows, |row| {
        let world = apart(world);
        carry_out(&world, row).map_err(|why| format!("{}: {why}", row.name))
    });
    assert!(failed.is_empty(), "{} of {} rows:\n{}", failed.len(), rows.len(), failed.join("\n\n"));
}

fn carry_out(world: &World, row: &Row) -> Result<(), String> {
    let stage = Stage::new(world);
    let refused = stage.forge(&row.forged);
    if !refused.is_empty() {
        return Err(format!("the kubelet may not say that: {refused:?}"));
    }
    let (code, says, count) = match row.comes {
        Synced(flags) => {
            if !flags.is_empty() {
                stage.names_a_peer_on_its_page();
            }
            return stage.sync(flags).and_then(|()| stage.statuses());
        }
        Nothing(code, says) => (code, says, 0),
        Itself(count) => (0, "", count),
    };
    if let Some((nth, forgery)) = &row.then {
        stage.forge_at(*nth, forgery);
    }
    let (ended, orders) = stage.sends(&row.errand, 0)?;
    if ended.code != Some(code) || !ended.said.contains(says) || orders.len() != count {
        return Err(format!("{:?} and not {:?}, {orders:?}: {}", ended.code, row.comes, ended.said));
    }
    Ok(())
}
