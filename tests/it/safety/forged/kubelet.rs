//! The credentials of one node's kubelet, and what can be written with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::World;

pub(super) const JSON: &str = "application/json";
pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Of the real control plane a certificate, which the Node authorizer and `NodeRestriction` judge. The double has neither: what
/// is forged there is what the real one lets through.
#[derive(Clone)]
pub(super) struct Kubelet {
    pub(super) node: String,
    client: kube::Client,
}

impl Kubelet {
    pub(super) fn of(world: &World, node: &str) -> Self {
        let client = match &world.doubles {
            Some(_) => world.client(),
            None => world.client_of(&kubeconfig(world, node)),
        };
        Self { node: node.to_owned(), client }
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        self.client.request(request.body(body).expect("a request")).await
    }
}

/// Made as `tests/cluster/up` makes those of its parts, in a folder of its own: others may be doing the same.
fn kubeconfig(world: &World, node: &str) -> PathBuf {
    const SCRIPT: &str = r#"
        set -euo pipefail
        umask 077
        cluster_dir=$1
        mkdir -p "$cluster_dir/pki"
        cp "$SCIURO_CLUSTER_DIR"/pki/ca.* "$cluster_dir/pki/"
        . "$2"
        make_client_certificate kubelet "/O=system:nodes/CN=system:node:$3"
        write_kubeconfig "$cluster_dir/kubeconfig" kubelet "$4"
    "#;
    let folder = world.file("kubelet", "").with_extension(node);
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/lib/pki.sh");
    let made = Command::new("bash")
        .args(["-c", SCRIPT, "bash"])
        .args([&folder, &library])
        .args([node, &world.server_url()])
        .output()
        .expect("bash");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder.join("kubeconfig")
}

/// What keeps a kubelet to its own node: without it no forgery here would show anything.
pub(super) fn may_do_no_more(world: &World, victim: &str, peer: &str) {
    let kubelet = Kubelet::of(world, victim);
    let (own, other) = (format!("/api/v1/nodes/{victim}"), format!("/api/v1/nodes/{peer}"));
    let node_leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let pods = "/api/v1/namespaces/kube-system/pods";
    let record = json!({"metadata": {"annotations": {"sciuro.dev/remediation": "x"}}});
    let boot_id = json!({"status": {"nodeInfo": {"bootID": "x"}}});
    let mirror = super::forgery::mirror("sciuro-test", peer, "x", &json!({}));
    let plain = json!({"metadata": {"name": "sciuro-test"}, "spec": {"nodeName": victim,
        "containers": [{"name": "c", "image": "x"}]}});
    let role = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
    for (method, path, kind, body) in [
        ("PATCH", other.clone(), MERGE, &record),
        ("PATCH", format!("{other}/status"), STRATEGIC, &boot_id),
        ("PATCH", format!("{node_leases}/{peer}"), MERGE, &json!({"spec": {"holderIdentity": "x"}})),
        (
            "POST",
            node_leases.replace("kube-node-lease", "kube-system"),
            JSON,
            &json!({"metadata": {"name": "sciuro-sync"}}),
        ),
        ("POST", pods.to_owned(), JSON, &mirror),
        ("POST", pods.to_owned(), JSON, &plain),
        ("PATCH", own, MERGE, &role),
    ] {
        let answer = world.block_on(kubelet.send(method, &path, kind, body));
        let is_refused = matches!(&answer, Err(kube::Error::Api(status)) if status.code == 403);
        assert!(is_refused, "{method} {path}: {answer:?}");
    }
}
