//! Machines.

use std::time::Duration;

use sandbox::kubelet::served_ip;
use sandbox::{ApiServer, Authority, Kubelet, KubeletOptions, KubeletServer};
use serde_json::{Value, json};

use crate::{Cluster, NODES};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

fn ready(node: &Value) -> &Value {
    node["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Ready").unwrap()
}

/// Waits until it is so; fails if it takes long.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not in 10 s: {what}");
}

#[tokio::test]
async fn machines_register_with_status_and_then_patch_differences() {
    for cluster in Cluster::all("kubelet").await {
        let name = format!("{}-a", cluster.prefix);
        let options = KubeletOptions {
            images: 50,
            provider_id: Some("metal://".into()),
            ..KubeletOptions::names([&name])
        };
        let kubelet = Kubelet::start(cluster.config.clone(), options.clone()).await.unwrap();
        let node = cluster.get(&format!("{NODES}/{name}")).await;
        assert_eq!(ready(&node)["status"], "True", "{}", cluster.name);
        assert_eq!(node["status"]["conditions"].as_array().unwrap().len(), 5);
        let address = sandbox::kubelet::internal_ip(&name).to_string();
        assert_eq!(node["status"]["addresses"][0], json!({"type": "InternalIP", "address": address}));
        assert_eq!(node["spec"]["providerID"], format!("metal://{name}"));
        assert!(node.to_string().len() >= 13_000, "{}: {} bytes", cluster.name, node.to_string().len());

        let lease = cluster.get(&format!("{LEASES}/{name}")).await;
        assert_eq!(
            (&lease["spec"]["holderIdentity"], &lease["spec"]["leaseDurationSeconds"]),
            (&json!(name), &json!(40))
        );
        assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], node["metadata"]["uid"]);

        kubelet.set_ready(&name, false).await.unwrap();
        let node = cluster.get(&format!("{NODES}/{name}")).await;
        assert_eq!(
            (&ready(&node)["status"], &ready(&node)["reason"]),
            (&json!("False"), &json!("KubeletNotReady"))
        );
        assert!(kubelet.set_ready("nobody", true).await.is_err());
        kubelet.stop().await;

        // Another kubelet takes the Node over.
        let uid = node["metadata"]["uid"].clone();
        let kubelet = Kubelet::start(cluster.config.clone(), options).await.unwrap();
        let node = cluster.get(&format!("{NODES}/{name}")).await;
        assert_eq!(
            (&ready(&node)["status"], &node["metadata"]["uid"]),
            (&json!("True"), &uid),
            "{}",
            cluster.name
        );
        kubelet.stop().await;
        cluster.delete(&format!("{NODES}/{name}")).await;
    }
}

/// The shape on which server-side apply has been seen to erase what has no owner.
#[tokio::test]
async fn only_leaves_of_conditions_have_an_owner() {
    for cluster in Cluster::all("owned").await.into_iter().filter(|cluster| cluster.name == "real") {
        for owns_images in [false, true] {
            let name = format!("{}-{owns_images}", cluster.prefix);
            let options = KubeletOptions { owns_images, ..KubeletOptions::names([&name]) };
            let kubelet = Kubelet::start(cluster.config.clone(), options).await.unwrap();
            kubelet.stop().await;
            let node = cluster.get(&format!("{NODES}/{name}")).await;
            let owned = node["metadata"]["managedFields"].as_array().unwrap();
            let owned =
                &owned.iter().find(|entry| entry["subresource"] == "status").unwrap()["fieldsV1"]["f:status"];
            assert_eq!(owned["f:conditions"]["."], Value::Null);
            assert_eq!(owned["f:conditions"]["k:{\"type\":\"Ready\"}"]["."], Value::Null);
            assert_eq!(owned["f:conditions"]["k:{\"type\":\"Ready\"}"]["f:status"], json!({}));
            assert_eq!(owned["f:images"], if owns_images { json!({}) } else { Value::Null });
            assert_eq!(node["status"]["images"].as_array().unwrap().len(), 5);
            cluster.delete(&format!("{NODES}/{name}")).await;
        }
    }
}

#[tokio::test]
async fn leases_are_renewed_and_heartbeats_come_now_and_then() {
    let server = ApiServer::start().await;
    let options = KubeletOptions {
        lease_period: Some(Duration::from_millis(20)),
        heartbeat_period: Duration::from_millis(50),
        ..KubeletOptions::count(3)
    };
    let kubelet = Kubelet::start(server.config(), options).await.unwrap();
    assert_eq!(kubelet.names().collect::<Vec<_>>(), ["worker1a", "worker1b", "worker2a"]);
    server.forget_requests();
    until("two renewals and a heartbeat of each", async || {
        let writes = server.writes_by("kubelet/");
        kubelet.names().all(|name| {
            let count = |write: String| writes.iter().filter(|one| **one == write).count();
            count(format!("PUT {LEASES}/{name}")) >= 2 && count(format!("PATCH {NODES}/{name}/status")) >= 1
        })
    })
    .await;
    kubelet.stop().await;
    server.forget_requests();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(server.writes_by("kubelet/"), Vec::<String>::new(), "stopped is stopped");
}

#[tokio::test]
async fn what_others_write_is_put_right() {
    let server = ApiServer::start().await;
    let options = KubeletOptions {
        lease_period: Some(Duration::from_millis(20)),
        register_again: true,
        ..KubeletOptions::count(2)
    };
    let kubelet = Kubelet::start(server.config(), options).await.unwrap();
    let status = || ready(server.store().node("worker1a"))["status"].clone();
    server.store().set_condition("worker1a", "Ready", "Unknown");
    until("Ready is True again", async || status() == "True").await;

    let uid = server.store().remove("nodes", "", "worker1b")["metadata"]["uid"].clone();
    until("it has registered again", async || {
        let store = server.store();
        store.get("nodes", "", "worker1b").is_some_and(|node| node["metadata"]["uid"] != uid)
    })
    .await;
    kubelet.stop().await;
}

#[tokio::test]
async fn an_api_server_that_fails_is_tried_again() {
    let server = ApiServer::start().await;
    server.faults().on("POST", NODES).times(1).status(500);
    server.faults().on("PATCH", "/api/v1/nodes/*").times(1).drop_connection();
    let kubelet = Kubelet::start(server.config(), KubeletOptions::count(1)).await.unwrap();
    assert_eq!(ready(server.store().node("worker1a"))["status"], "True");
    kubelet.stop().await;
}

/// The API server has a certificate, others do not.
#[tokio::test]
async fn its_server_answers_who_has_a_certificate_of_the_cluster() {
    _ = rustls::crypto::ring::default_provider().install_default();
    let (cluster, machine) = (Authority::new("cluster"), "kubelet-server-test");
    let _server = KubeletServer::start(machine, &cluster.certificate);
    let url = format!("https://{}:10250/containerLogs/default/web-0/app", served_ip(machine));
    let client = || reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
    let identity = cluster.issue(&["api-server"]);
    let identity = reqwest::Identity::from_pem((identity.certificate + &identity.key).as_bytes()).unwrap();
    let api_server = client().identity(identity).build().unwrap();
    let get = async |url: &str| api_server.get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(get(&url).await, "log of app in default/web-0\n");
    assert_eq!(get(&format!("{url}?previous=true")).await, "previous log of app in default/web-0\n");
    assert!(client().build().unwrap().get(&url).send().await.is_err());
}
