//! A proxy before the API server that remembers what passes.

use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use http::request::Parts;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::Value;

use super::World;
use super::proxy::{Passes, forward, serve};

/// A request, as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub method: String,
    pub path: String,
    pub query: String,
    /// `null` if it is no JSON.
    pub body: Value,
    /// Of a request about one pod: the node that this is bound to.
    pub bound_to: Option<String>,
    /// The server's code; 0 as long as there is no answer.
    pub answered: Arc<AtomicU16>,
}

impl Sent {
    pub fn was_done(&self) -> bool {
        (200..300).contains(&self.answered.load(Ordering::Relaxed))
    }
}

pub struct Witness {
    url: String,
    shared: Arc<Shared>,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Shared {
    client: kube::Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sent: Vec<Sent>,
    /// After so many more requests this is done.
    interposed: Option<(usize, Work)>,
}

impl Witness {
    pub fn start(world: &World) -> Self {
        let shared = Arc::new(Shared { client: world.client(), state: Mutex::default() });
        let url = serve(world, &shared);
        Self { url, shared }
    }

    /// For `--server`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What has passed since the last time.
    pub fn take(&self) -> Vec<Sent> {
        let mut state = self.shared.state.lock().expect("a lock");
        state.interposed = None;
        std::mem::take(&mut state.sent)
    }

    /// This is done before the `nth` request from now on, counted from 0, goes to the server.
    pub fn interpose(&self, nth: usize, work: impl Future<Output = ()> + Send + 'static) {
        self.shared.state.lock().expect("a lock").interposed = Some((nth, Box::pin(work)));
    }
}

impl Passes for Shared {
    async fn pass(&self, head: Parts, body: Vec<u8>) -> std::io::Result<Response<Body>> {
        let work = self.state.lock().expect("a lock").due();
        if let Some(work) = work {
            work.await;
        }
        let answered = Arc::new(AtomicU16::new(0));
        let sent = Sent {
            answered: answered.clone(),
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            bound_to: match pod(&head) {
                Some(pod) => self.node_of(pod).await,
                None => None,
            },
        };
        self.state.lock().expect("a lock").sent.push(sent);
        let response = forward(&self.client, head, body).await?;
        answered.store(response.status().as_u16(), Ordering::Relaxed);
        Ok(response)
    }
}

impl State {
    fn due(&mut self) -> Option<Work> {
        match &mut self.interposed {
            Some((0, _)) => self.interposed.take().map(|(_, work)| work),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}

impl Shared {
    async fn node_of(&self, pod: String) -> Option<String> {
        let request = Request::get(pod).body(Vec::new()).expect("a request");
        let pod: Value = self.client.request(request).await.ok()?;
        pod["spec"]["nodeName"].as_str().map(str::to_owned)
    }
}

/// Where the pod is that this is about: what changes it, and what goes to its node, such as its log.
fn pod(head: &Parts) -> Option<String> {
    let parts: Vec<&str> = head.uri.path().split('/').collect();
    match parts[..] {
        ["", "api", "v1", "namespaces", namespace, "pods", pod, ref more @ ..]
            if head.method != Method::GET || !more.is_empty() =>
        {
            Some(format!("/api/v1/namespaces/{namespace}/pods/{pod}"))
        }
        _ => None,
    }
}
