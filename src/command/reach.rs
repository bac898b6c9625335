//! How sources inside the cluster are reached: what `source` asks for, answered by `cluster`.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use url::Url;

use crate::cli::Via;
use crate::cluster::{self, Cluster, PodKey, ServiceKey};
use crate::core::source::{Failure, FailureReason};
use crate::error::{Error, Exit};
use crate::settings::Address;
use crate::source::{ByteStream, Dial, Endpoint, Endpoints};
use crate::ui::Ui;

/// The members behind `svc://` and `auto`, in this cluster.
pub(super) struct Reach {
    cluster: Arc<Cluster>,
    ui: Arc<Ui>,
    via: Via,
    /// The same dialer for the same pod in each round, so that its connection is kept.
    dials: Mutex<BTreeMap<(PodKey, u16), Dial>>,
    /// Which Service `auto` led to, once that was said.
    told: Mutex<Option<ServiceKey>>,
}

impl Reach {
    pub(super) fn new(cluster: Arc<Cluster>, ui: Arc<Ui>, via: Via) -> Self {
        Self { cluster, ui, via, dials: Mutex::default(), told: Mutex::default() }
    }

    async fn find(&self, address: &Address) -> Result<Vec<Endpoint>, Error> {
        let key = match address {
            Address::Url(url) => {
                let (name, url) = (url.to_string(), url.clone());
                return Ok(vec![Endpoint { name, url, dial: None, server_name: None }]);
            }
            Address::Service { tls, namespace, name, port } => {
                ServiceKey { tls: *tls, namespace: namespace.clone(), name: name.clone(), port: port.clone() }
            }
            Address::Auto { namespaces } => {
                let found = self.cluster.find_alertmanager(namespaces).await?;
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.as_ref() != Some(&found) {
                    self.ui.note(&format!("note: --alertmanager auto takes {found}"));
                    *told = Some(found.clone());
                }
                found
            }
        };
        let found = self.cluster.endpoints(&key).await?;
        found.into_iter().map(|endpoint| self.member(endpoint, &key)).collect()
    }

    fn member(&self, endpoint: cluster::Endpoint, key: &ServiceKey) -> Result<Endpoint, Error> {
        let is_direct = match self.via {
            Via::Auto => self.cluster.is_in_cluster(),
            Via::Direct => true,
            Via::PortForward => false,
        };
        let url = Url::parse(&endpoint.base_url())
            .map_err(|error| Error::new(Exit::Failed, format!("{}: {error}", endpoint.shown)))?;
        let dial = match endpoint.pod {
            _ if is_direct => None,
            Some(pod) => Some(self.dial(pod, endpoint.address.port())),
            None => {
                let what = format!("{} is no pod: a port-forward cannot lead there", endpoint.shown);
                return Err(Error::new(Exit::Failed, what).hint("--via direct"));
            }
        };
        // Certificates are made for Services: a pod's address is not known before it starts.
        let server_name = Some(format!("{}.{}.svc", key.name, key.namespace));
        Ok(Endpoint { name: endpoint.shown, url, dial, server_name })
    }

    fn dial(&self, pod: PodKey, port: u16) -> Dial {
        let mut dials = self.dials.lock().unwrap_or_else(PoisonError::into_inner);
        let dial = dials.entry((pod.clone(), port)).or_insert_with(|| {
            let cluster = self.cluster.clone();
            Arc::new(move || {
                let (cluster, pod) = (cluster.clone(), pod.clone());
                async move {
                    let stream = cluster.port_forward(&pod, port).await.map_err(io::Error::other)?;
                    Ok(Box::new(stream) as Box<dyn ByteStream>)
                }
                .boxed()
            })
        });
        dial.clone()
    }
}

impl Endpoints for Reach {
    fn endpoints<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Vec<Endpoint>, Failure>> {
        self.find(address).map(|found| found.map_err(|error| failure(&error))).boxed()
    }
}

fn failure(error: &Error) -> Failure {
    Failure {
        reason: FailureReason::Http,
        is_misconfigured: error.exit == Exit::Usage,
        what: error.why().to_owned(),
        hints: error.hints().to_vec(),
    }
}
