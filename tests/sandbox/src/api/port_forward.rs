//! `pods/NAME/portforward`: what the API server looks at before it lets a kubelet answer.

use tokio::sync::watch;

use super::resource::Resource;
use super::route::Info;
use super::status::{Result, Status};
use super::store::Store;
use crate::http::{Reply, Request};
use crate::kubelet::port_forward::{self, Targets};

pub(super) fn start(
    store: &Store,
    info: &Info,
    request: &Request,
    targets: &Targets,
    cut: watch::Receiver<()>,
) -> Result<Reply> {
    let namespace = info.namespace.clone().unwrap_or_default();
    let Some(pod) = store.get("pods", &namespace, &info.name) else {
        return Err(match Resource::of_plural("pods") {
            Some(pods) => Status::not_found(pods, &info.name),
            None => Status::no_such_resource(),
        });
    };
    if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", info.name)));
    }
    let port = request.parameter("ports");
    port_forward::start(request, &namespace, &info.name, port, targets, cut).map_err(Status::bad_request)
}
