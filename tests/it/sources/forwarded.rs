//! Members that are reached by a stream that somebody else opens, as a port-forward does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::LOCATION;
use sciuro::core::source::Failure;
use sciuro::error::Error;
use sciuro::settings::Address;
use sciuro::source::{ByteStream, Endpoint, Endpoints, Sources};
use url::Url;

use super::http_config::Pki;
use super::{Setup, alertmanagers, firing_alertmanager, names, only};

/// A Service with one endpoint that is reached by a stream that somebody else opens.
struct Forwarded {
    target: String,
    dialed: Arc<AtomicU32>,
    members: Vec<Endpoint>,
}

impl Forwarded {
    fn new(target: &str, url: &str) -> Self {
        let dialed = Arc::new(AtomicU32::new(0));
        let target = target.trim_start_matches("http://").trim_start_matches("https://").to_owned();
        let (count, address) = (Arc::clone(&dialed), target.clone());
        let dial = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let address = address.clone();
            async move {
                let stream = tokio::net::TcpStream::connect(address).await?;
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            }
            .boxed()
        };
        let member = Endpoint {
            name: "svc://monitoring/am/am-0".into(),
            url: Url::parse(url).unwrap(),
            dial: Some(Arc::new(dial)),
            server_name: None,
        };
        Self { target, dialed, members: vec![member] }
    }
}

impl Endpoints for Forwarded {
    fn endpoints<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Vec<Endpoint>, Failure>> {
        assert!(matches!(address, Address::Service { name, .. } if name == "am"));
        std::future::ready(Ok(self.members.clone())).boxed()
    }
}

fn service() -> Setup {
    let mut group = alertmanagers(&[]);
    group.members =
        vec![Address::Service { tls: false, namespace: "monitoring".into(), name: "am".into(), port: None }];
    Setup::new(vec![group])
}

#[test]
fn a_member_behind_a_port_forward() {
    let am = firing_alertmanager();
    let forwarded = Arc::new(Forwarded::new(&am.url(), "http://10.0.0.1:9093"));
    let setup = service();
    let sources = Sources::new(&setup.settings, forwarded.clone()).unwrap();
    for _ in 0..3 {
        let groups = setup.fetch_by(&sources, None);
        assert_eq!(groups[0].members[0].name, "svc://monitoring/am/am-0");
        assert_eq!(names(groups[0].members[0].answer.as_ref().unwrap()), ["Hot"]);
    }
    assert_eq!(forwarded.dialed.load(Ordering::Relaxed), 1, "one connection, kept from round to round");
    assert_eq!(am.requests()[0].header("host"), "10.0.0.1:9093");
    am.faults().on("GET", "/api/v2/alerts").status(302).header(LOCATION, "http://10.0.0.2/");
    let failure = only(setup.fetch_by(&sources, None)).unwrap_err();
    assert!(failure.what.contains("which the port-forward does not reach"), "{failure:?}");
    assert!(
        failure.what.starts_with("svc://monitoring/am/am-0 (http://10.0.0.1:9093/api/v2/alerts)"),
        "{failure:?}"
    );
    assert!(failure.hints.is_empty(), "no curl reaches it");
}

#[test]
fn tls_through_a_port_forward() {
    let pki = Pki::new();
    let (_front, url) = pki.front(&["am.monitoring.svc"], false);
    let mut setup = service();
    setup = setup.http_config("tls_config: {ca_file: ca.crt}");
    setup.file("ca.crt", &pki.ca.certificate);
    let forwarded = Forwarded::new(&url, "https://am.monitoring.svc:9093");
    assert!(forwarded.target.starts_with("localhost"));
    let sources = Sources::new(&setup.settings, Arc::new(forwarded)).unwrap();
    assert_eq!(names(&only(setup.fetch_by(&sources, None)).unwrap()), ["Hot"]);
}

#[test]
fn a_service_without_endpoints() {
    struct Nobody;
    impl Endpoints for Nobody {
        fn endpoints<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, Result<Vec<Endpoint>, Failure>> {
            std::future::ready(Ok(Vec::new())).boxed()
        }
    }
    let setup = service();
    let sources = Sources::new(&setup.settings, Arc::new(Nobody)).unwrap();
    let failure = only(setup.fetch_by(&sources, None)).unwrap_err();
    assert_eq!(failure.what, "svc://monitoring/am has no ready endpoint");
    assert!(!failure.is_misconfigured);
}

/// What the cluster said of the way there is for the reader, too.
#[test]
fn a_port_forward_that_is_refused_keeps_its_hints() {
    let refused = Error::in_kubectls_words("Error from server (Forbidden): pods \"am-0\" is forbidden")
        .hint("a Role in monitoring needs the rule")
        .hint("kubectl auth can-i create pods --subresource=portforward -n monitoring");
    let dial = move || {
        std::future::ready(Err::<Box<dyn ByteStream>, _>(std::io::Error::other(refused.clone()))).boxed()
    };
    let member = Endpoint {
        name: "svc://monitoring/am/am-0".into(),
        url: Url::parse("http://10.0.0.1:9093").unwrap(),
        dial: Some(Arc::new(dial)),
        server_name: None,
    };
    let nowhere = Forwarded { target: String::new(), dialed: Arc::default(), members: vec![member] };
    let setup = service();
    let sources = Sources::new(&setup.settings, Arc::new(nowhere)).unwrap();
    let failure = only(setup.fetch_by(&sources, None)).unwrap_err();
    assert_eq!(
        failure.what,
        "cannot reach svc://monitoring/am/am-0 (http://10.0.0.1:9093/api/v2/status): Error from server (Forbidden): pods \
         \"am-0\" is forbidden"
    );
    assert_eq!(
        failure.hints,
        [
            "a Role in monitoring needs the rule",
            "kubectl auth can-i create pods --subresource=portforward -n monitoring",
        ]
    );
}
