//! Services, and the pods that stand ready behind them: where `svc://NAMESPACE/NAME[:PORT]` leads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointPort, EndpointSlice};
use kube::Resource;
use kube::api::{GetParams, ListParams};
use kube::core::ObjectList;
use serde::de::DeserializeOwned;

use super::api::Cluster;
use super::error::{ApiError, Rule};
use crate::error::{Error, Exit, Result};

/// Names of the port that is meant if a Service has several: the Prometheus Operator's, then those of charts.
const PORT_NAMES: [&str; 3] = ["web", "http-web", "http"];

/// The Prometheus Operator's Service before the pods of every Alertmanager of a namespace.
const OPERATED: &str = "alertmanager-operated";
const ALERTMANAGERS: &str = "app.kubernetes.io/name=alertmanager";

/// A Service, and one of its ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey {
    /// It speaks TLS, whatever its port is called.
    pub tls: bool,
    pub namespace: String,
    pub name: String,
    /// A number or a name; `None` = the only one, or the one that is called `web`, `http-web` or `http`.
    pub port: Option<String>,
}

impl ServiceKey {
    fn scheme(&self) -> &'static str {
        if self.tls { "svc+https" } else { "svc" }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.scheme(), self.namespace, self.name)?;
        self.port.iter().try_for_each(|port| write!(f, ":{port}"))
    }
}

/// One pod behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `svc://NAMESPACE/NAME/POD`, or `svc+https://`; the address instead of a pod that is not known.
    pub shown: String,
    /// Where the pod can be reached from inside of the cluster.
    pub address: SocketAddr,
    /// It was asked for, or the port's name or `appProtocol` says so.
    pub is_tls: bool,
    pub pod: Option<PodKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodKey {
    pub namespace: String,
    pub name: String,
}

impl Endpoint {
    /// `http://10.1.2.3:9093`, `http://[fd00::1]:9093`.
    pub fn base_url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

impl Cluster {
    /// The endpoints of a Service that are ready; at least one.
    pub async fn endpoints(&self, key: &ServiceKey) -> Result<Vec<Endpoint>> {
        let services = Rule { namespace: Some(&key.namespace), ..Rule::SERVICES };
        let slices = Rule { namespace: Some(&key.namespace), ..Rule::ENDPOINT_SLICES };
        let request = request_of::<Service>(Some(&key.namespace)).get(&key.name, &GetParams::default());
        let service = async { self.call::<Service>(request?).await };
        let selector = format!("kubernetes.io/service-name={}", key.name);
        let listed =
            self.list_of::<EndpointSlice>(Some(&key.namespace), ListParams::default().labels(&selector));
        let (service, listed) = futures::join!(service, listed);
        let service = service.map_err(|error| {
            let explained = error.explain("get", &services);
            match error.code() {
                Some(http::StatusCode::NOT_FOUND) => {
                    explained.hint(format!("kubectl get services -n {}", key.namespace))
                }
                _ => explained,
            }
        })?;
        let listed = listed.map_err(|error| error.explain("list", &slices))?;
        refuse_foreign(&listed, key)?;
        let port = choose_port(&service, &listed, key)?;
        let (ready, unready) = ready_endpoints(&listed, &port, key);
        if ready.is_empty() {
            let others = match unready {
                0 => String::new(),
                1 => "; 1 is not ready".to_owned(),
                count => format!("; {count} are not ready"),
            };
            return Err(Error::new(Exit::Failed, format!("{key} has no ready endpoints{others}")).hint(
                format!(
                    "kubectl get endpointslices -n {} -l kubernetes.io/service-name={}",
                    key.namespace, key.name
                ),
            ));
        }
        Ok(ready)
    }

    /// The Service before the Alertmanagers of these namespaces, if there is just one. Elsewhere it may be a tenant's.
    pub async fn find_alertmanager(&self, namespaces: &[String]) -> Result<ServiceKey> {
        let (mut operated, mut labelled) = (Vec::new(), Vec::new());
        for namespace in namespaces {
            let by_name = ListParams::default().fields(&format!("metadata.name={OPERATED}"));
            let by_label = ListParams::default().labels(ALERTMANAGERS);
            let listed = futures::try_join!(
                self.list_of::<Service>(Some(namespace), by_name),
                self.list_of::<Service>(Some(namespace), by_label)
            );
            let services = Rule { namespace: Some(namespace), ..Rule::SERVICES };
            let (by_name, by_label) = listed.map_err(|error| error.explain("list", &services))?;
            operated.extend(by_name);
            labelled.extend(by_label);
        }
        let found = alertmanagers(&operated, &labelled);
        match &found[..] {
            [one] => Ok(one.clone()),
            [] => Err(Error::new(
                Exit::Usage,
                format!(
                    "--alertmanager auto: no Service in {} is called {OPERATED} or labelled {ALERTMANAGERS}",
                    namespaces.join(", ")
                ),
            )
            .hint("kubectl get services -A")
            .hint("--alertmanager-namespace NAMESPACE looks elsewhere")
            .hint("--alertmanager svc://NAMESPACE/SERVICE, or a URL")),
            several => {
                let error = Error::new(
                    Exit::Usage,
                    format!("--alertmanager auto: there are {} Alertmanagers; say which", several.len()),
                );
                Err(several.iter().fold(error, |error, key| error.hint(format!("--alertmanager {key}"))))
            }
        }
    }

    async fn list_of<K>(&self, namespace: Option<&str>, parameters: ListParams) -> Result<Vec<K>, ApiError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Send + 'static,
    {
        let list: ObjectList<K> = self.call(request_of::<K>(namespace).list(&parameters)?).await?;
        Ok(list.items)
    }
}

fn request_of<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> kube::core::Request {
    kube::core::Request::new(K::url_path(&(), namespace))
}

/// One Service for each Alertmanager: the operator's stands for all of its namespace, and of those that lead to the
/// same pods the headless one is taken, by which all of them can be told apart.
fn alertmanagers(operated: &[Service], labelled: &[Service]) -> Vec<ServiceKey> {
    let mut taken = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut labelled: Vec<&Service> = labelled
        .iter()
        .filter(|service| {
            let spec = service.spec.as_ref();
            spec.is_some_and(|spec| {
                spec.type_.as_deref() != Some("ExternalName") && tcp(spec.ports.as_ref()).next().is_some()
            })
        })
        .collect();
    labelled.sort_by_key(|service| (!is_headless(service), service.metadata.name.clone()));
    for service in operated {
        let Some(key) = key_of(service) else { continue };
        taken.insert((key.namespace.clone(), None));
        found.insert(key);
    }
    for service in labelled {
        let Some(key) = key_of(service) else { continue };
        let selector: Option<BTreeMap<String, String>> =
            service.spec.as_ref().and_then(|spec| spec.selector.clone());
        let is_operated = taken.contains(&(key.namespace.clone(), None));
        if !is_operated && taken.insert((key.namespace.clone(), Some(selector.unwrap_or_default()))) {
            found.insert(key);
        }
    }
    found.into_iter().collect()
}

fn key_of(service: &Service) -> Option<ServiceKey> {
    Some(ServiceKey {
        tls: false,
        namespace: service.metadata.namespace.clone()?,
        name: service.metadata.name.clone()?,
        port: None,
    })
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn tcp(ports: Option<&Vec<ServicePort>>) -> impl Iterator<Item = &ServicePort> {
    ports.into_iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
}

/// How the port is found in a slice: by its name there, which is the Service's, or by its number.
#[derive(Debug, PartialEq, Eq)]
enum Port {
    Named(String),
    Number(i32),
}

fn choose_port(service: &Service, slices: &[EndpointSlice], key: &ServiceKey) -> Result<Port> {
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        let name = spec.and_then(|spec| spec.external_name.clone()).unwrap_or_default();
        return Err(Error::usage(format!("{key} has no endpoints: it stands for the name {name:?}"))
            .hint(format!("--alertmanager http://{name}:9093")));
    }
    let ports: Vec<&ServicePort> = tcp(spec.and_then(|spec| spec.ports.as_ref())).collect();
    let named = |name: &str| ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == name);
    let chosen = match &key.port {
        None if ports.len() == 1 => ports.first(),
        None => PORT_NAMES.iter().find_map(|name| named(name)),
        Some(text) => match text.parse::<i32>() {
            Ok(number) => ports.iter().find(|port| port.port == number),
            Err(_) => named(text),
        },
    };
    if let Some(port) = chosen {
        return Ok(Port::Named(port.name.clone().unwrap_or_default()));
    }
    // A pod's own number is understood too: that is what its documentation tells.
    let wanted = key.port.as_deref().and_then(|text| text.parse::<i32>().ok());
    let pods = |number| slices.iter().flat_map(slice_ports).any(|port| port.port == Some(number));
    if let Some(number) = wanted.filter(|number| pods(*number)) {
        return Ok(Port::Number(number));
    }
    let known: Vec<String> =
        ports.iter().map(|port| port.name.clone().unwrap_or_else(|| port.port.to_string())).collect();
    let what = match &key.port {
        Some(port) => format!("the Service {}/{} has no TCP port {port}", key.namespace, key.name),
        None => format!("the Service {}/{} has {} TCP ports", key.namespace, key.name, ports.len()),
    };
    let error = Error::usage(what);
    Err(if known.is_empty() {
        error.hint(format!("kubectl describe service -n {} {}", key.namespace, key.name))
    } else {
        error.hint(format!(
            "{}://{}/{}:PORT, where PORT is one of {}",
            key.scheme(),
            key.namespace,
            key.name,
            known.join(", ")
        ))
    })
}

/// Endpoints that are pods of another namespace: no controller makes them, but anyone who may write `EndpointSlices` can, and would
/// have us forward a port of a pod that is none of theirs.
fn refuse_foreign(slices: &[EndpointSlice], key: &ServiceKey) -> Result<()> {
    let targets = slices.iter().flat_map(|slice| &slice.endpoints).filter_map(|end| end.target_ref.as_ref());
    let namespaces = targets.filter_map(|target| target.namespace.as_ref());
    match namespaces.filter(|namespace| **namespace != key.namespace).min() {
        None => Ok(()),
        Some(other) => {
            Err(Error::usage(format!("{key} has endpoints in another namespace: {other}")).hint(format!(
                "kubectl get endpointslices -n {} -l kubernetes.io/service-name={} -o yaml",
                key.namespace, key.name
            )))
        }
    }
}

fn slice_ports(slice: &EndpointSlice) -> impl Iterator<Item = &EndpointPort> {
    slice.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
}

/// The endpoints that are ready, each pod once, in the order of their names; and how many are not.
fn ready_endpoints(slices: &[EndpointSlice], port: &Port, key: &ServiceKey) -> (Vec<Endpoint>, usize) {
    let mut ready = BTreeMap::new();
    let mut unready = BTreeSet::new();
    // A Service of two families has slices of each: a pod is the same by either address, and IPv4 goes first.
    let mut slices: Vec<&EndpointSlice> = slices.iter().collect();
    slices.sort_by_key(|slice| slice.address_type.clone());
    for slice in slices {
        let found = slice_ports(slice).find(|candidate| match port {
            Port::Named(name) => candidate.name.as_deref().unwrap_or_default() == name,
            Port::Number(number) => candidate.port == Some(*number),
        });
        let Some(found) = found else { continue };
        let Some(number) = found.port.and_then(|port| u16::try_from(port).ok()) else { continue };
        let is_tls = key.tls
            || found.app_protocol.as_deref() == Some("https")
            || found.name.as_deref().is_some_and(|name| name == "https" || name.starts_with("https-"));
        for endpoint in &slice.endpoints {
            let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            let pod = target.and_then(|target| target.name.clone());
            let pod = pod.map(|name| PodKey { namespace: key.namespace.clone(), name });
            // All addresses of an endpoint are the same pod's; an FQDN is none that a Service of pods has.
            let Some(ip) = endpoint.addresses.iter().find_map(|address| address.parse::<IpAddr>().ok())
            else {
                continue;
            };
            let name = pod.as_ref().map_or_else(|| ip.to_string(), |pod| pod.name.clone());
            if !is_ready(endpoint.conditions.as_ref()) {
                unready.insert(name);
                continue;
            }
            let shown = format!("{}://{}/{}/{name}", key.scheme(), key.namespace, key.name);
            let address = SocketAddr::new(ip, number);
            ready.entry(name).or_insert(Endpoint { shown, address, is_tls, pod });
        }
    }
    unready.retain(|name| !ready.contains_key(name));
    (ready.into_values().collect(), unready.len())
}

/// Absent means unknown, which counts as ready. A Service that publishes what is not ready, as the operator's does, says
/// ready of all; `serving` still tells (`endpointslice/utils.go`, `podToEndpoint`).
fn is_ready(conditions: Option<&EndpointConditions>) -> bool {
    conditions.is_none_or(|conditions| conditions.ready != Some(false) && conditions.serving != Some(false))
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;
