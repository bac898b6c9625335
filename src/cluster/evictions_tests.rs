//! The request on the wire, and what each answer means.

#![allow(clippy::expect_used)]

use kube::core::response::{StatusCause, StatusDetails};

use super::*;

fn order() -> Order {
    Order { uid: "u-1".into(), namespace: "ns".into(), name: "p".into() }
}

fn body(how: &Eviction) -> (String, serde_json::Value) {
    let request = request(&order(), how).expect("a request");
    let line = format!("{} {}", request.method(), request.uri());
    (line, serde_json::from_slice(request.body()).unwrap_or_default())
}

#[test]
fn the_eviction_carries_uid_and_grace() {
    let how = Eviction { grace_period: Some(30), ..Eviction::default() };
    let (line, sent) = body(&how);
    assert_eq!(line, "POST /api/v1/namespaces/ns/pods/p/eviction?");
    assert_eq!(
        sent,
        serde_json::json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "ns"},
            "deleteOptions": {"gracePeriodSeconds": 30, "preconditions": {"uid": "u-1"}}})
    );
    let (line, sent) = body(&Eviction { dry_run: true, ..Eviction::default() });
    assert!(line.ends_with("/eviction?&dryRun=All"), "{line}");
    assert_eq!(sent["deleteOptions"], serde_json::json!({"preconditions": {"uid": "u-1"}}));
}

#[test]
fn the_deletion_carries_them_too() {
    let how = Eviction { grace_period: Some(0), by_delete: true, dry_run: true };
    let (line, sent) = body(&how);
    assert!(line.starts_with("DELETE /api/v1/namespaces/ns/pods/p?"), "{line}");
    assert_eq!(
        sent,
        serde_json::json!({"dryRun": ["All"], "gracePeriodSeconds": 0, "preconditions": {"uid": "u-1"}})
    );
}

fn no_details() -> StatusDetails {
    serde_json::from_str("{}").expect("nothing")
}

fn failure(code: u16, message: &str, causes: &[(&str, &str)]) -> ApiError {
    let causes = causes.iter().map(|(reason, message)| StatusCause {
        reason: (*reason).into(),
        message: (*message).into(),
        field: String::new(),
    });
    let details = StatusDetails { causes: causes.collect(), ..no_details() };
    ApiError::Status(Box::new(Status::failure(message, "").with_code(code).with_details(details)))
}

#[test]
fn f9_d4_d5_d6_every_answer_has_its_meaning() {
    let refused = |why: &str, hint| Answer::Refused { why: why.into(), hint };
    let transient = |why: &str, hint| Answer::Transient { why: why.into(), retry_after: None, hint };
    let server = |why| transient(why, Hint::Server);
    let denied_by = |by: &str, why: &str, hint| Answer::Denied {
        by: by.into(),
        why: why.into(),
        retry_after: None,
        hint,
    };
    let by_webhook = |why| denied_by("admission webhook \"x\"", why, Hint::Webhooks);
    let policy = "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'freeze' with binding 'b' denied request: not now";
    let permission = Hint::Permission { deletes: false };
    let needs = "The disruption budget web needs 2 healthy pods and has 2 currently";
    let processed = "The disruption budget web is still being processed by the server.";
    let odd = "no words that are known";
    let budget = |name: Option<&str>, why: &str| Answer::Budget {
        name: name.map(str::to_owned),
        why: why.into(),
        retry_after: None,
    };
    let two =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    let webhook = "Internal error occurred: failed calling webhook \"x\": connection refused";
    let denied = "admission webhook \"x\" denied the request: not today";
    let no_dry_run = "admission webhook \"x\" does not support dry run";
    let forbidden = "pods \"p\" is forbidden: User \"u\" cannot create resource \"pods/eviction\"";
    let table = [
        (failure(404, "pods \"p\" not found", &[]), Answer::Gone),
        (failure(409, "the UID does not match", &[]), Answer::Conflict("the UID does not match".into())),
        (failure(429, "Cannot evict pod", &[("DisruptionBudget", needs)]), budget(Some("web"), needs)),
        (
            failure(429, "Cannot evict pod", &[("DisruptionBudget", processed)]),
            budget(Some("web"), processed),
        ),
        (failure(429, "Cannot evict pod", &[("DisruptionBudget", odd)]), budget(None, odd)),
        (failure(429, "too many requests", &[]), Answer::Throttled { retry_after: None }),
        (failure(403, "ns is being terminated", &[("NamespaceTerminating", "")]), Answer::NamespaceEnds),
        (failure(403, forbidden, &[]), refused(forbidden, permission)),
        (failure(403, denied, &[]), by_webhook(denied)),
        (failure(400, denied, &[]), by_webhook(denied)),
        (failure(404, denied, &[]), by_webhook(denied)),
        (failure(409, denied, &[]), by_webhook(denied)),
        (failure(429, denied, &[]), by_webhook(denied)),
        (failure(500, denied, &[]), by_webhook(denied)),
        (
            failure(422, policy, &[]),
            denied_by("ValidatingAdmissionPolicy \"freeze\"", policy, Hint::Policies),
        ),
        (failure(429, "slow down", &[]), server("slow down")),
        (failure(400, no_dry_run, &[]), Answer::NotRehearsed(no_dry_run.into())),
        (failure(500, two, &[]), refused(two, Hint::Budgets)),
        (failure(500, webhook, &[]), transient(webhook, Hint::Webhooks)),
        (failure(500, "etcdserver: leader changed", &[]), server("etcdserver: leader changed")),
        (failure(504, "due to conflicts", &[]), server("due to conflicts")),
        (failure(422, "no such thing", &[]), refused("no such thing", Hint::Pod)),
        (ApiError::Transport("refused".into()), server("refused")),
        (ApiError::Broken("stalled".into()), server("stalled")),
        (ApiError::Unexpected("<html>".into()), refused("<html>", Hint::Pod)),
    ];
    for (error, expected) in table {
        assert_eq!(read_error(&error, None, false), expected, "{error}");
    }
}

#[test]
fn a_server_asks_for_patience_by_header_or_in_its_status() {
    let mut status = Status::failure("Too many requests, please try again later.", "").with_code(429);
    status.details = Some(StatusDetails { retry_after_seconds: 7, ..no_details() });
    let error = ApiError::Status(Box::new(status));
    let seconds = |seconds| Answer::Throttled { retry_after: Some(Duration::from_secs(seconds)) };
    assert_eq!(read_error(&error, None, false), seconds(7));
    assert_eq!(read_error(&error, Some(Duration::from_secs(3)), false), seconds(3));
}
