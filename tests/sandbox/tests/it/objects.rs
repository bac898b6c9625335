//! Creating, reading, updating, deleting.

use http::Method;
use sandbox::ApiServer;
use serde_json::{Value, json};

use crate::{Cluster, JSON, NODES, condition, conditions};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

#[tokio::test]
async fn a_node_is_created_with_its_status() {
    for cluster in Cluster::all("create").await {
        let node = cluster
            .node("a", &json!({"conditions": [condition("TA", "True")], "capacity": {"cpu": "1"}}))
            .await;
        let live = cluster.get(&node).await;
        assert_eq!(
            (conditions(&live).as_str(), &live["status"]["capacity"]["cpu"]),
            ("TA=True", &json!("1"))
        );
        assert_eq!((&live["kind"], &live["apiVersion"]), (&json!("Node"), &json!("v1")));
        assert_eq!(live["metadata"]["uid"].as_str().unwrap().len(), 36);
        assert!(live["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().is_ok());

        let name = &live["metadata"]["name"];
        let (code, answer) = cluster
            .post(NODES, &json!({"metadata": {"name": name}, "kind": "Node", "apiVersion": "v1"}))
            .await;
        assert_eq!((code, &answer["reason"]), (409, &json!("AlreadyExists")), "{}", cluster.name);
        assert_eq!(answer["message"], format!("nodes {name} already exists"));

        let (code, answer) =
            cluster.post(NODES, &json!({"metadata": {}, "kind": "Node", "apiVersion": "v1"})).await;
        assert_eq!(
            (code, &answer["details"]["causes"][0]["field"]),
            (422, &json!("metadata.name")),
            "{}",
            cluster.name
        );

        for body in
            [json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}}).to_string(), "{bad".into()]
        {
            let (code, answer) = cluster.call(Method::POST, NODES, JSON, body).await;
            assert_eq!((code, &answer["reason"]), (400, &json!("BadRequest")), "{}", cluster.name);
        }
        cluster.delete(&node).await;
    }
}

#[tokio::test]
async fn a_deletion_may_be_meant_for_one_object_only() {
    for cluster in Cluster::all("delete").await {
        let node = cluster.node("a", &json!({})).await;
        let other = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}})
            .to_string();
        let (code, answer) = cluster.call(Method::DELETE, &node, JSON, other).await;
        assert_eq!((code, &answer["reason"]), (409, &json!("Conflict")), "{}: {answer}", cluster.name);
        let uid = cluster.get(&node).await["metadata"]["uid"].clone();
        let (code, answer) = cluster.call(Method::DELETE, &node, JSON, "").await;
        assert_eq!((code, &answer["status"], &answer["details"]["uid"]), (200, &json!("Success"), &uid));
        assert_eq!(cluster.delete(&node).await, 404);
    }
}

#[tokio::test]
async fn leases_are_updated_by_version() {
    for cluster in Cluster::all("lease").await {
        let name = cluster.prefix.clone();
        let path = format!("{LEASES}/{name}");
        let lease = |version: Option<&str>, renewed: &str| {
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": name, "resourceVersion": version},
                "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": renewed},
            })
        };
        let time = "2020-03-18T13:17:58.000120Z";
        let (code, created) = cluster.post(LEASES, &lease(None, time)).await;
        assert_eq!((code, &created["spec"]["renewTime"]), (201, &json!(time)), "{}: {created}", cluster.name);
        let version = created["metadata"]["resourceVersion"].as_str().unwrap();

        let (code, answer) = cluster.put(&path, &lease(None, time)).await;
        let field = &answer["details"]["causes"][0]["field"];
        assert_eq!((code, field), (422, &json!("metadata.resourceVersion")), "{}: {answer}", cluster.name);
        let (code, answer) = cluster.put(&path, &lease(Some("1"), time)).await;
        assert_eq!((code, &answer["reason"]), (409, &json!("Conflict")), "{}", cluster.name);
        assert_eq!(
            answer["details"],
            json!({"name": name, "group": "coordination.k8s.io", "kind": "leases"})
        );
        let (code, answer) = cluster.put(&path, &lease(Some(version), "2020-03-18T13:17:58Z")).await;
        assert_eq!(
            (code, &answer["reason"]),
            (400, &json!("BadRequest")),
            "{}: six digits it must be",
            cluster.name
        );
        let (code, updated) = cluster.put(&path, &lease(Some(version), "2020-03-18T13:18:58.000000Z")).await;
        assert_eq!(
            (code, &updated["metadata"]["uid"]),
            (200, &created["metadata"]["uid"]),
            "{}",
            cluster.name
        );
        assert_ne!(updated["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);

        assert_eq!(cluster.delete(&path).await, 200);
        let (code, _) = cluster.put(&path, &updated).await;
        assert_eq!(code, 409, "{}: it is another's place, by its uid", cluster.name);
        let (code, _) = cluster.put(&path, &lease(Some("1"), time)).await;
        assert_eq!(code, 201, "{}: an update may create it", cluster.name);
        cluster.delete(&path).await;

        let nowhere = LEASES.replace("kube-system", "nowhere");
        let (code, answer) = cluster.post(&nowhere, &lease(None, time)).await;
        assert_eq!(
            (code, &answer["message"]),
            (404, &json!("namespaces \"nowhere\" not found")),
            "{}",
            cluster.name
        );
    }
}

#[tokio::test]
async fn lists_are_selected_and_paged() {
    for cluster in Cluster::all("list").await {
        let mut nodes = Vec::new();
        for suffix in ["a", "b", "c"] {
            nodes.push(cluster.node(suffix, &json!({})).await);
        }
        let prefix = &cluster.prefix;
        let ours = format!("labelSelector=scenario%3D{prefix}");
        let names = async |query: &str| -> String {
            let list = cluster.get(&format!("{NODES}?{query}")).await;
            let names = list["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|node| node["metadata"]["name"].as_str().unwrap());
            names.map(|name| name.rsplit('-').next().unwrap()).collect()
        };
        assert_eq!(names(&ours).await, "abc", "{}", cluster.name);
        assert_eq!(names(&format!("{ours},suffix%20in%20(a,c)")).await, "ac");
        assert_eq!(names(&format!("{ours},suffix%20notin%20(a,c)")).await, "b");
        assert_eq!(names(&format!("{ours},suffix!%3Da,!missing,suffix")).await, "bc");
        assert_eq!(names(&format!("fieldSelector=metadata.name%3D{prefix}-b")).await, "b");
        assert_eq!(
            names(&format!("{ours}&fieldSelector=metadata.name!%3D{prefix}-b,spec.unschedulable%3Dfalse"))
                .await,
            "ac"
        );
        for bad in [
            "labelSelector=a%20b",
            "labelSelector=a%20in%20(b",
            "fieldSelector=x%3Dy",
            "fieldSelector=x",
            "resourceVersion=x",
        ] {
            let (code, answer) = cluster.call(Method::GET, &format!("{NODES}?{bad}"), JSON, "").await;
            assert_eq!((code, &answer["reason"]), (400, &json!("BadRequest")), "{}: {bad}", cluster.name);
        }

        let list = cluster.get(&format!("{NODES}?{ours}&limit=2")).await;
        assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("NodeList"), 2));
        assert_eq!(list["items"][0]["kind"], Value::Null, "the list says it for its items");
        let token = list["metadata"]["continue"].as_str().unwrap();
        // Deleted meanwhile: a list is of one moment.
        cluster.delete(&nodes[2]).await;
        let rest = cluster.get(&format!("{NODES}?{ours}&limit=2&continue={token}")).await;
        assert_eq!(rest["items"][0]["metadata"]["name"], format!("{prefix}-c"), "{}", cluster.name);
        assert_eq!(rest["metadata"]["resourceVersion"], list["metadata"]["resourceVersion"]);
        assert_eq!(rest["metadata"]["continue"].as_str().unwrap_or_default(), "");
        for node in &nodes {
            cluster.delete(node).await;
        }
    }
}

#[tokio::test]
async fn events_are_the_same_in_both_groups() {
    for cluster in Cluster::all("events").await {
        let name = &cluster.prefix;
        let new = "/apis/events.k8s.io/v1/namespaces/default/events";
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": name}, "eventTime": "2020-03-18T13:17:58.000120Z",
            "regarding": {"kind": "Node", "name": name}, "reason": "Tested", "action": "Test", "type": "Normal",
            "note": "a note", "reportingController": "sandbox/test", "reportingInstance": "one",
        });
        let (code, answer) = cluster.post(new, &event).await;
        assert_eq!((code, &answer["note"]), (201, &json!("a note")), "{}: {answer}", cluster.name);
        let old = format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{name}");
        let list = cluster.get(&old).await;
        let seen = &list["items"][0];
        assert_eq!(
            (&seen["message"], &seen["involvedObject"]["kind"]),
            (&json!("a note"), &json!("Node")),
            "{}",
            cluster.name
        );
        assert_eq!(seen["reportingComponent"], "sandbox/test");
        assert_eq!(cluster.delete(&format!("{new}/{name}")).await, 200);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    for cluster in Cluster::all("paths").await {
        for (method, path, code) in [
            (Method::GET, "/api/v1/nonsense", 404),
            (Method::GET, "/nonsense", 404),
            (Method::GET, "/apis/nonsense/v1", 404),
            (Method::POST, "/api/v1/nodes/w1/status", 405),
            (Method::GET, "/readyz", 200),
            (Method::GET, "/version", 200),
            (Method::GET, "/api", 200),
            (Method::GET, "/apis", 200),
            (Method::GET, "/api/v1", 200),
            (Method::GET, "/apis/coordination.k8s.io", 200),
            (Method::GET, "/apis/coordination.k8s.io/v1", 200),
        ] {
            let (given, answer) = cluster.call(method, path, JSON, "{}").await;
            assert_eq!(given, code, "{}: {path}: {answer}", cluster.name);
        }
    }
}

#[tokio::test]
async fn only_metadata_if_that_is_wanted() {
    for cluster in Cluster::all("metadata").await {
        let node = cluster.node("a", &json!({"capacity": {"cpu": "1"}})).await;
        let client = kube::Client::try_from(cluster.config.clone()).unwrap();
        let nodes = kube::Api::<k8s_openapi::api::core::v1::Node>::all(client);
        let params = kube::api::ListParams::default().labels(&format!("scenario={}", cluster.prefix));
        let list = nodes.list_metadata(&params).await.unwrap();
        assert_eq!(list.items[0].metadata.name.as_deref(), node.rsplit('/').next(), "{}", cluster.name);
        cluster.delete(&node).await;
    }
}

/// The real server may close the connection before it has read all of it.
#[tokio::test]
async fn a_body_may_have_3_mib() {
    let server = ApiServer::start().await;
    let cluster = Cluster::new("sandbox", "body", server.config(), None);
    let (code, answer) = cluster.call(Method::POST, NODES, JSON, " ".repeat((3 << 20) + 1)).await;
    assert_eq!((code, &answer["reason"]), (413, &json!("RequestEntityTooLarge")));
    assert_eq!(answer["message"], "Request entity too large: limit is 3145728");
}

#[tokio::test]
async fn annotations_may_have_256_kib_all_together() {
    for cluster in Cluster::all("annotations").await {
        let node = cluster.node("a", &json!({})).await;
        let annotation =
            |key: &str, kib: usize| json!({"metadata": {"annotations": {key: "y".repeat(kib << 10)}}});
        assert_eq!(cluster.patch(&node, &annotation("x", 200)).await.0, 200, "{}", cluster.name);
        let patch = annotation("z", 60);
        for dry in ["?dryRun=All", ""] {
            let (code, answer) = cluster.patch(&format!("{node}{dry}"), &patch).await;
            let message = answer["message"].as_str().unwrap_or_default().to_owned();
            assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")), "{}: {message}", cluster.name);
            let end = "is invalid: metadata.annotations: Too long: may not be more than 262144 bytes";
            assert!(message.starts_with("Node \"") && message.ends_with(end), "{}: {message}", cluster.name);
        }
    }
}

/// As a real server says it; `d0_…` in the tests of the program see both.
#[tokio::test]
async fn what_a_policy_refuses_is_refused_to_dry_runs_too() {
    let server = ApiServer::start().await;
    server.store().put(sandbox::node("w1"));
    let cordons = |_: &Value, new: &Value| new["spec"]["unschedulable"] == true;
    server.store().refuse("freeze", ("nodes", "w1"), "until Monday", cordons);
    let cluster = Cluster::new("sandbox", "policy", server.config(), None);
    let node = "/api/v1/nodes/w1";
    let cordon = json!({"spec": {"unschedulable": true}});
    let message = "nodes \"w1\" is forbidden: ValidatingAdmissionPolicy 'freeze' with binding 'freeze' denied request: \
        until Monday";
    for dry in ["?dryRun=All", ""] {
        let (code, answer) = cluster.patch(&format!("{node}{dry}"), &cordon).await;
        assert_eq!((code, &answer["message"]), (422, &json!(message)));
    }
    assert_eq!(cluster.patch(node, &json!({"metadata": {"labels": {"a": "b"}}})).await.0, 200);
    server.store().allow("freeze");
    assert_eq!(cluster.patch(node, &cordon).await.0, 200);
}

#[tokio::test]
async fn what_is_denied_is_forbidden_and_reviews_say_so() {
    let server = ApiServer::start().await;
    server.store().put(sandbox::node("w1"));
    server.deny("patch", "nodes/status");
    server.deny("create", "leases");
    let cluster = Cluster::new("sandbox", "deny", server.config(), None);

    let (code, answer) = cluster.patch("/api/v1/nodes/w1/status", &json!({})).await;
    let message = "nodes \"w1\" is forbidden: User \"sandbox\" cannot patch resource \"nodes/status\" in API group \"\" \
        at the cluster scope";
    assert_eq!((code, &answer["reason"], &answer["message"]), (403, &json!("Forbidden"), &json!(message)));
    let (code, answer) = cluster.post(LEASES, &json!({})).await;
    let message = "leases.coordination.k8s.io is forbidden: User \"sandbox\" cannot create resource \"leases\" in API \
        group \"coordination.k8s.io\" in the namespace \"kube-system\"";
    assert_eq!((code, &answer["message"]), (403, &json!(message)));

    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (subresource, allowed) in [("status", false), ("", true)] {
        let asked = json!({"verb": "patch", "resource": "nodes", "subresource": subresource});
        let (code, review) = cluster.post(reviews, &json!({"spec": {"resourceAttributes": asked}})).await;
        assert_eq!((code, &review["status"]["allowed"]), (201, &json!(allowed)));
    }
    server.allow_all();
    assert_eq!(cluster.patch("/api/v1/nodes/w1/status", &json!({})).await.0, 200);
}

/// Who has cordoned a node: a field belongs to who changed it last.
#[tokio::test]
async fn a_cordon_has_an_owner() {
    for cluster in Cluster::all("cordon").await {
        let node = cluster.node("a", &json!({})).await;
        let owners = async || {
            let live = cluster.get(&node).await;
            let entries = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
            let owns = |entry: &&Value| entry["fieldsV1"]["f:spec"]["f:unschedulable"].is_object();
            let managers =
                entries.iter().filter(owns).map(|entry| entry["manager"].as_str().unwrap().to_owned());
            managers.collect::<Vec<_>>()
        };
        let cordon = async |manager: &str, cordoned: Value| {
            let path = format!("{node}?fieldManager={manager}");
            let patch =
                json!({"metadata": {"annotations": {"by": manager}}, "spec": {"unschedulable": cordoned}});
            assert_eq!(cluster.patch(&path, &patch).await.0, 200, "{}", cluster.name);
        };
        assert_eq!(owners().await, Vec::<String>::new(), "{}", cluster.name);
        cordon("first", json!(true)).await;
        assert_eq!(owners().await, ["first"], "{}", cluster.name);
        cordon("second", json!(true)).await;
        let both = owners().await;
        cordon("second", json!(null)).await;
        assert_eq!(owners().await, Vec::<String>::new(), "{}", cluster.name);
        cordon("second", json!(true)).await;
        assert_eq!(owners().await, ["second"], "{}", cluster.name);
        assert_eq!(both, ["first"], "{}: who cordons what is cordoned changes nothing", cluster.name);
        cluster.delete(&node).await;
    }
}
