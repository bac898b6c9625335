//! What is stored on a Node about a remediation, as JSON.

use sciuro::core::remediation::{LastRemediation, Method, Record, State};
use serde_json::{Value, json};

fn full() -> Value {
    json!({
        "v": 1,
        "id": "8c4b6a5e-0000-4000-8000-000000000001",
        "state": "NeedsHuman",
        "failedState": "WaitBoot",
        "since": "2020-03-18T13:17:58Z",
        "timeout": 900,
        "actor": "a@h",
        "holder": "a@h#1",
        "method": "command",
        "reason": [{"type": "KernelDeadlock", "reason": "Firing", "lastTransition": "2020-03-18T13:00:00Z"}],
        "nodeUID": "u",
        "preBootID": "11111111-1111-4111-8111-111111111111",
        "provenBootID": "22222222-2222-4222-8222-222222222222",
        "baseline": {
            "daemonsets": ["kube-system/proxy"],
            "allocatable": {"cpu": "4"},
            "csiDrivers": ["d"],
            "readyHeartbeat": "2020-03-18T13:17:00Z",
        },
        "wasUnschedulable": false,
        "marks": [
            {"type": "cordon"},
            {"type": "helper", "namespace": "kube-system", "name": "sciuro-reboot-8c4b6a5e-1"},
            {"type": "silence", "id": "s"},
        ],
        "attempts": [
            {"n": 1, "method": "pod", "intentAt": "2020-03-18T13:18:00Z", "notAfterUptime": 127, "outcome": "spent"},
            {"n": 2, "method": "command", "intentAt": "2020-03-18T13:28:00Z"},
        ],
        "bundle": "a.tar.gz",
        "lastError": "the node did not prove a reboot within 15m",
    })
}

fn read(value: &Value) -> Result<Record, String> {
    serde_json::from_str(&value.to_string()).map_err(|error| error.to_string())
}

/// `full` with another value at a place.
fn with(pointer: &str, value: Value) -> Value {
    let mut record = full();
    *record.pointer_mut(pointer).expect(pointer) = value;
    record
}

#[test]
fn a_record_is_written_as_it_was_read() {
    let record = read(&full()).unwrap();
    assert_eq!((record.state, record.method), (State::NeedsHuman, Method::Command));
    assert_eq!(serde_json::to_value(&record).unwrap(), full());
}

#[test]
fn what_can_be_left_out_is() {
    let mut small = full();
    for key in ["failedState", "provenBootID", "bundle", "lastError"] {
        small.as_object_mut().unwrap().remove(key);
    }
    assert_eq!(serde_json::to_value(read(&small).unwrap()).unwrap(), small);
    for key in ["reason", "baseline", "marks", "attempts"] {
        small.as_object_mut().unwrap().remove(key);
    }
    let record = read(&small).unwrap();
    assert_eq!((record.reason, record.marks, record.attempts), (vec![], vec![], vec![]));
}

#[test]
fn every_state_method_and_outcome_has_its_word() {
    for state in ["Cordoning", "Collecting", "Draining", "RebootIntent", "WaitBoot"].into_iter().chain([
        "Verifying",
        "Uncordoning",
        "NeedsHuman",
        "Aborted",
    ]) {
        let written = serde_json::to_value(read(&with("/state", state.into())).unwrap()).unwrap();
        assert_eq!(written["state"], state);
    }
    for method in ["pod", "signal", "ssh", "command", "manual"] {
        let written = serde_json::to_value(read(&with("/method", method.into())).unwrap()).unwrap();
        assert_eq!(written["method"], method);
    }
    for outcome in ["issued", "notIssued", "rebooted", "spent"] {
        let written = read(&with("/attempts/0/outcome", outcome.into())).unwrap();
        assert_eq!(serde_json::to_value(written).unwrap()["attempts"][0]["outcome"], outcome);
    }
}

#[test]
fn an_unknown_word_is_an_error_that_names_it() {
    for (pointer, value, named) in [
        ("/state", json!("Rebooting"), "Rebooting"),
        ("/state", json!("cordoning"), "cordoning"),
        ("/failedState", json!("Planned"), "Planned"),
        ("/method", json!("kexec"), "kexec"),
        ("/method", json!("Pod"), "Pod"),
        ("/attempts/0/method", json!("kexec"), "kexec"),
        ("/attempts/0/outcome", json!("lost"), "lost"),
        ("/marks/0", json!({"type": "taint"}), "taint"),
        ("/marks/1", json!({"type": "helper", "name": "n"}), "namespace"),
        ("/timeout", json!(-1), "-1"),
        ("/since", json!("yesterday"), "yesterday"),
        ("/attempts", json!({}), "sequence"),
    ] {
        let error = read(&with(pointer, value)).unwrap_err();
        assert!(error.contains(named), "{pointer}: {error}");
    }
    for key in ["v", "id", "state", "since", "holder", "method", "nodeUID", "preBootID", "wasUnschedulable"] {
        let mut record = full();
        record.as_object_mut().unwrap().remove(key);
        let error = read(&record).unwrap_err();
        assert!(error.contains(&format!("missing field `{key}`")), "{error}");
    }
}

/// Of a later version; whoever stores a record keeps them.
#[test]
fn unknown_fields_are_accepted() {
    let mut record = full();
    record["later"] = json!([1]);
    record["baseline"]["later"] = json!({});
    record["attempts"][0]["later"] = json!("x");
    record["marks"][1]["later"] = json!(true);
    assert_eq!(read(&record), read(&full()));
}

#[test]
fn what_stays_on_the_node_is_read_again() {
    let last = json!({
        "id": "i", "outcome": "remediated", "actor": "a@h", "finished": "2020-03-18T13:17:58Z", "method": "pod",
        "attempts": 1, "bootID": "22222222-2222-4222-8222-222222222222", "reason": [],
    });
    let read: LastRemediation = serde_json::from_str(&last.to_string()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), last);
}
