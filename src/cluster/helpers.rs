//! Helper pods: made, followed until they have answered, and deleted.

use std::pin::pin;
use std::time::Duration;

use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::Cluster;
use super::error::{ApiError, Refusals};
use super::watch::Lines;

/// After a watch broke off.
const PAUSE: Duration = Duration::from_millis(500);

/// What a kubelet has to create its pods with (`NodeRestriction`), and nobody can add or remove later.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What is known of a pod at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HelperPod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub node: String,
    /// RFC 3339, as spelt.
    pub created: String,
    pub labels: std::collections::BTreeMap<String, String>,
    /// It has an owner, or is the mirror of a static pod: no run of ours makes such a one, and a kubelet no other.
    pub is_others: bool,
    pub spec: Value,
    /// Its container has started: the first of two, if it has an init container, which is then the one that answers.
    pub runs: bool,
    /// Why that container waits, such as `ErrImagePull: …`.
    pub waits: Option<String>,
    /// Its exit code and termination message.
    pub ended: Option<(i32, String)>,
    /// The same of the second container, if there are two.
    pub then_ended: Option<(i32, String)>,
    /// Why the pod itself failed, such as `Evicted: …`.
    pub failed: Option<String>,
}

impl From<&Value> for HelperPod {
    fn from(pod: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let two = |value: &Value| {
            let (reason, message) = (text(&value["reason"]), text(&value["message"]));
            if message.is_empty() { reason } else { format!("{reason}: {message}") }
        };
        let (metadata, status) = (&pod["metadata"], &pod["status"]);
        let main = &status["containerStatuses"][0]["state"];
        let has_two = pod["spec"]["initContainers"].is_array();
        let state = if has_two { &status["initContainerStatuses"][0]["state"] } else { main };
        let end = |state: &Value| {
            let ended = &state["terminated"];
            let code = i32::try_from(ended["exitCode"].as_i64()?).unwrap_or(i32::MAX);
            Some((code, text(&ended["message"])))
        };
        let owners = metadata["ownerReferences"].as_array();
        Self {
            is_others: owners.is_some_and(|owners| !owners.is_empty())
                || !metadata["annotations"][MIRROR].is_null(),
            spec: pod["spec"].clone(),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            node: text(&pod["spec"]["nodeName"]),
            created: text(&metadata["creationTimestamp"]),
            labels: metadata["labels"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            runs: state["running"].is_object() || status["phase"] == "Running",
            waits: state["waiting"].is_object().then(|| two(&state["waiting"])),
            ended: end(state),
            then_ended: has_two.then(|| end(main)).flatten(),
            failed: (status["phase"] == "Failed" && end(state).is_none()).then(|| two(status)),
        }
    }
}

impl Cluster {
    /// Creates a pod; `dry_run`: only asks whether it would be admitted.
    pub async fn create_pod(
        &self,
        namespace: &str,
        pod: &Value,
        dry_run: bool,
    ) -> Result<HelperPod, ApiError> {
        let query = if dry_run { "&dryRun=All" } else { "" };
        let path = format!("{}?fieldManager=kubectl-sciuro{query}", pods(namespace));
        let request = request("POST", &path, pod.to_string().into_bytes())?;
        // Whoever only asks wants to know how it is now.
        let created = if dry_run {
            self.call::<Value>(request).await
        } else {
            self.call_patiently::<Value>(request).await
        };
        created.map(|pod| (&pod).into())
    }

    /// `None` if there is no such pod.
    pub async fn helper_pod(&self, namespace: &str, name: &str) -> Result<Option<HelperPod>, ApiError> {
        match self.call::<Value>(request("GET", &format!("{}/{name}", pods(namespace)), Vec::new())?).await {
            Ok(pod) => Ok(Some((&pod).into())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The pods with these labels.
    pub async fn helper_pods(&self, namespace: &str, labels: &str) -> Result<Vec<HelperPod>, ApiError> {
        self.selected_pods(namespace, "labelSelector", labels).await
    }

    /// All pods of the namespace that are bound to this node, whatever they are.
    pub async fn pods_beside(&self, namespace: &str, node: &str) -> Result<Vec<HelperPod>, ApiError> {
        self.selected_pods(namespace, "fieldSelector", &format!("spec.nodeName={node}")).await
    }

    async fn selected_pods(
        &self,
        namespace: &str,
        selector: &str,
        value: &str,
    ) -> Result<Vec<HelperPod>, ApiError> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Value>,
        }
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair(selector, value).finish();
        let list: List =
            self.call(request("GET", &format!("{}?{query}", pods(namespace)), Vec::new())?).await?;
        Ok(list.items.iter().map(HelperPod::from).collect())
    }

    /// Asks for the end of this very pod: it is gone once the kubelet has ended it. `true` if it is gone already.
    pub async fn delete_helper_pod(&self, pod: &HelperPod) -> Result<bool, ApiError> {
        let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.uid}});
        let path = format!("{}/{}", pods(&pod.namespace), pod.name);
        match self.send_patiently(request("DELETE", &path, body.to_string().into_bytes())?).await {
            Ok(()) => Ok(false),
            // 409: the name is another pod's now.
            Err(error) if matches!(error.code(), Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT)) => {
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Follows this very pod until `answer` has one; `None`: it is gone, whatever has its name now. What breaks is opened
    /// again; it has no end of its own, unless it is not allowed.
    pub async fn follow_pod<T>(
        &self,
        pod: &HelperPod,
        mut answer: impl FnMut(Option<&HelperPod>) -> Option<T>,
    ) -> Result<T, ApiError> {
        let HelperPod { namespace, name, uid, .. } = pod;
        let mut answer = |seen: Option<&HelperPod>| answer(seen.filter(|seen| seen.uid == *uid));
        let mut refusals = Refusals::default();
        loop {
            match self.follow_pod_once(namespace, name, &mut answer).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => refusals.over(),
                Err(error) => {
                    tracing::debug!(%error, "cannot follow pod {namespace}/{name}");
                    if refusals.heard(&error) {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow_pod_once<T>(
        &self,
        namespace: &str,
        name: &str,
        answer: &mut impl FnMut(Option<&HelperPod>) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        #[derive(Deserialize)]
        struct List {
            metadata: Versioned,
            items: Vec<Value>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Versioned {
            resource_version: String,
        }
        #[derive(Deserialize)]
        struct Event {
            #[serde(rename = "type")]
            kind: String,
            object: Value,
        }
        let path = format!("{}?fieldSelector=metadata.name%3D{name}", pods(namespace));
        let list: List = self.call(request("GET", &path, Vec::new())?).await?;
        if let Some(found) = answer(list.items.first().map(HelperPod::from).as_ref()) {
            return Ok(Some(found));
        }
        let version = list.metadata.resource_version;
        let watch = format!("{path}&watch=true&timeoutSeconds=60&resourceVersion={version}");
        let chunks = pin!(self.stream(request("GET", &watch, Vec::new())?).await?);
        let mut lines = Lines::new(chunks);
        while let Some(line) = lines.next().await? {
            let event: Event =
                serde_json::from_slice(&line).map_err(|error| ApiError::Unexpected(error.to_string()))?;
            let found = match event.kind.as_str() {
                "ADDED" | "MODIFIED" => answer(Some(&(&event.object).into())),
                "DELETED" => answer(None),
                _ => return Ok(None),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

fn request(method: &str, path: &str, body: Vec<u8>) -> Result<Request<Vec<u8>>, ApiError> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| ApiError::Unexpected(error.to_string()))
}
