//! Each answer of an API server, as Kubernetes 1.36 sends it.

use super::*;

fn class(code: u16, message: &str) -> Class {
    ApiError::Status(Box::new(Status::failure(message, "").with_code(code))).class()
}

#[test]
fn f9_d4_d5_d6_an_answer_is_told_by_the_servers_words() {
    let down = |name: &str| Class::WebhookDown(name.into());
    let webhook = |name: &str| Class::Denied(Denier::Webhook(name.into()));
    let policy = |name: &str| Class::Denied(Denier::Policy(name.into()));
    let kubevirt = "admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\" denied the request: Eviction triggered evacuation of VMI \"vms/a\"";
    let freeze = "nodes \"w1\" is forbidden: ValidatingAdmissionPolicy 'freeze' with binding 'all' denied request: not now";
    let call = "Internal error occurred: failed calling webhook \"guard.example.com\": failed to call webhook: Post \"https://guard.example.svc:443/?timeout=2s\"";
    let table = [
        (500, format!("{call}: context deadline exceeded"), down("guard.example.com")),
        (500, format!("{call}: dial tcp 10.0.0.1:443: connect: connection refused"), down("guard.example.com")),
        (500, format!("{call}: no endpoints available for service \"guard\""), down("guard.example.com")),
        (500, "etcdserver: leader changed".into(), Class::Passing),
        (503, "the server is currently unable to handle the request".into(), Class::Passing),
        (504, "Timeout: request did not complete within requested timeout".into(), Class::Passing),
        (429, kubevirt.into(), webhook("virt-launcher-eviction-interceptor.kubevirt.io")),
        (400, "admission webhook \"drain-cleaner.strimzi.io\" denied the request without explanation".into(), webhook("drain-cleaner.strimzi.io")),
        (403, "admission webhook \"g\" denied the request: not yet".into(), webhook("g")),
        (404, "admission webhook \"g\" denied the request: not found".into(), webhook("g")),
        (500, "admission webhook \"g\" denied the request: failed calling webhook \"h\"".into(), webhook("g")),
        (422, freeze.into(), policy("freeze")),
        (403, "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no".into(), policy("a")),
        (400, "admission webhook \"g\" does not support dry run".into(), Class::Final),
        (429, "Too many requests, please try again later.".into(), Class::Busy),
        (429, "storage is (re)initializing".into(), Class::Busy),
        (429, "Cannot evict pod as it would violate the pod's disruption budget.".into(), Class::Passing),
        (401, "Unauthorized".into(), Class::Forbidden),
        (403, "pods \"p\" is forbidden: User \"u\" cannot create resource \"pods/eviction\" in API group \"\" in the namespace \"ns\"".into(), Class::Forbidden),
        (403, "pods \"p\" is forbidden: User \"ValidatingAdmissionPolicy 'a' denied request: \" cannot get resource \"pods\"".into(), Class::Forbidden),
        (403, "pods \"p\" is forbidden: ".into(), Class::Forbidden),
        (403, "forbidden".into(), Class::Forbidden),
        (403, "pods \"p\" is forbidden: exceeded quota: few, requested: pods=1".into(), Class::Final),
        (403, "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": privileged".into(), Class::Final),
        (404, "pods \"p\" not found".into(), Class::Final),
        (409, "the object has been modified".into(), Class::Final),
        (422, "Node \"w1\" is invalid: metadata.annotations: Too long".into(), Class::Final),
    ];
    for (code, message, expected) in table {
        assert_eq!(class(code, &message), expected, "{code} {message}");
    }
    assert_eq!(ApiError::Transport("refused".into()).class(), Class::Passing);
    assert_eq!(ApiError::Broken("stalled".into()).class(), Class::Passing);
    assert_eq!(ApiError::Unexpected("<html>".into()).class(), Class::Final);
}

#[test]
fn f9_d4_what_webhooks_do_is_not_asked_again_at_once_unless_they_are_away() {
    let error =
        |code, message: &str| ApiError::Status(Box::new(Status::failure(message, "").with_code(code)));
    assert!(error(500, "Internal error occurred: failed calling webhook \"g\": EOF").may_pass());
    assert!(error(429, "Too many requests, please try again later.").may_pass());
    assert!(!error(429, "admission webhook \"g\" denied the request: busy").may_pass());
    assert!(!error(500, "admission webhook \"g\" denied the request: broken").may_pass());
    let refusal = error(403, "admission webhook \"g\" denied the request: no");
    assert!(!refusal.is_refusal(), "no permission is missing");
    let explained = refusal.explain("patch", &super::super::Rule::NODES).to_string();
    assert!(!explained.contains("ClusterRole"), "{explained}");
}
