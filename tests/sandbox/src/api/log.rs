//! `pods/NAME/log`, in the words of the server (`pkg/registry/core/pod/strategy.go`, `LogLocation`) and of a kubelet.

use serde_json::Value;

use super::route::Info;
use super::status::{Result, Status};
use super::store::Store;
use crate::http::{Reply, Request};
use crate::kubelet::collected;

pub(super) fn log(store: &Store, info: &Info, request: &Request) -> Result<Reply> {
    let namespace = info.namespace.as_deref().unwrap_or_default();
    let name = &info.name;
    let pod = store.get("pods", namespace, name).ok_or_else(|| Status::not_found(info.resource, name))?;
    let all = pod["spec"]["containers"].as_array().into_iter().flatten();
    let all: Vec<&str> = all.filter_map(|container| container["name"].as_str()).collect();
    let container = match (request.parameter("container"), &all[..]) {
        (Some(container), _) if all.contains(&container.as_str()) => container,
        (Some(container), _) => {
            return Err(Status::bad_request(format!("container {container} is not valid for pod {name}")));
        }
        (None, [only]) => (*only).to_owned(),
        (None, _) => {
            let all = all.join(" ");
            let why = format!("a container name must be specified for pod {name}, choose one of: [{all}]");
            return Err(Status::bad_request(why));
        }
    };
    let mut statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let status = statuses.find(|status| status["name"] == container.as_str()).unwrap_or(&Value::Null);
    let is_previous = request.parameter("previous").as_deref() == Some("true");
    if is_previous && status["lastState"]["terminated"].is_null() {
        let why = format!("previous terminated container \"{container}\" in pod \"{name}\" not found");
        return Err(Status::bad_request(why));
    }
    if let Some(log) = collected::log(pod).filter(|_| container == collected::CONTAINER) {
        return Ok(Reply::text(200, log));
    }
    let which = if is_previous { "previous log" } else { "log" };
    Ok(Reply::text(200, format!("{which} of {container} in {namespace}/{name}\n")))
}
