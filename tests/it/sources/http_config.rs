//! `--http-config`: credentials, TLS, proxies, redirects.

use std::path::Path;
use std::sync::Arc;

use http::header::LOCATION;
use sandbox::{Alertmanager, Authority, Front, Prometheus};
use sciuro::source::{NoCluster, Sources};

use super::{SECRET, Setup, alertmanagers, firing_alertmanager, names, only, prometheuses};

#[test]
fn a_token_is_rotated_between_two_rounds() {
    let am = firing_alertmanager();
    am.require_bearer("first");
    let setup = Setup::new(vec![alertmanagers(&[&am.url()])])
        .http_config("authorization: {credentials_file: token}\n");
    let token = setup.file("token", "first\n");
    let sources = setup.sources();
    only(setup.fetch_by(&sources, None)).unwrap();
    am.require_bearer("second");
    let failure = only(setup.fetch_by(&sources, None)).unwrap_err();
    assert!(failure.is_misconfigured && failure.what.ends_with("answered 401 Unauthorized"), "{failure:?}");
    setup.file("token", "second");
    only(setup.fetch_by(&sources, None)).unwrap();
    std::fs::remove_file(token).unwrap();
    let failure = only(setup.fetch_by(&sources, None)).unwrap_err();
    assert!(
        failure.is_misconfigured
            && failure.what.contains("cannot read ")
            && failure.what.contains("token: No such"),
        "{failure:?}"
    );
    // So is the configuration itself.
    setup.file("http.yaml", "authorization:\n  credential: x\n");
    let failure = only(setup.fetch_by(&sources, None)).unwrap_err();
    assert!(failure.what.ends_with("http.yaml:2: unknown key authorization.credential"), "{failure:?}");
    setup.file("http.yaml", "authorization: {credentials: second}");
    only(setup.fetch_by(&sources, None)).unwrap();
}

#[test]
fn names_and_passwords() {
    let am = firing_alertmanager();
    am.require_basic("reader", "p@ss");
    let in_file = Setup::new(vec![alertmanagers(&[&am.url()])])
        .http_config("basic_auth: {username: reader, password_file: password}");
    in_file.file("password", "p@ss\n");
    in_file.only().unwrap();
    let url = am.url().replace("http://", "http://reader:p%40ss@");
    Setup::new(vec![alertmanagers(&[&url])]).only().unwrap();
    let both = Setup::new(vec![alertmanagers(&[&url])]).http_config("basic_auth: {username: reader}");
    let error = Sources::new(&both.settings, Arc::new(NoCluster)).err().unwrap();
    assert_eq!(
        error.to_string(),
        "error: a name in the URL and one in the --http-config file exclude each other"
    );
}

#[test]
fn headers_of_ones_own() {
    let prometheus = Prometheus::start_blocking();
    let setup = Setup::new(vec![prometheuses(&[&prometheus.url()])])
        .http_config("http_headers: {X-Scope-OrgID: {values: [team], secrets: [other], files: [tenant]}}");
    setup.file("tenant", "third\n");
    setup.only().unwrap();
    let request = prometheus.requests().pop().unwrap();
    let values: Vec<_> = request.headers.get_all("x-scope-orgid").iter().collect();
    assert_eq!(values, ["team", "other", "third"]);
}

/// A server of TLS before an Alertmanager, and the files of who may speak to it.
pub(super) struct Pki {
    pub(super) am: Alertmanager,
    pub(super) ca: Authority,
}

impl Pki {
    pub(super) fn new() -> Self {
        Self { am: firing_alertmanager(), ca: Authority::new("ca") }
    }

    pub(super) fn front(&self, names: &[&str], mutual: bool) -> (Front, String) {
        let front = Front::tls(&self.am.url(), &self.ca.issue(names), mutual.then_some(&self.ca));
        let url = format!("https://localhost:{}", front.address().port());
        (front, url)
    }

    fn setup(&self, url: &str, more: &str) -> Setup {
        let setup = Setup::new(vec![alertmanagers(&[url])])
            .http_config(&format!("tls_config:\n  ca_file: ca.crt\n{more}"));
        setup.file("ca.crt", &self.ca.certificate);
        let client = self.ca.issue(&["client"]);
        setup.file("client.crt", &client.certificate);
        setup.file("client.key", &client.key);
        setup
    }
}

#[test]
fn tls_by_the_authority_of_the_file() {
    let pki = Pki::new();
    let (_front, url) = pki.front(&["localhost"], false);
    pki.setup(&url, "").only().unwrap();
    pki.setup(&url, "  min_version: TLS13\n").only().unwrap();
    pki.setup(&url, "  max_version: TLS12\n").only().unwrap();
    let setup = pki.setup(&url, "");
    setup.file("ca.crt", &Authority::new("another").certificate);
    let failure = setup.only().unwrap_err();
    assert!(failure.is_misconfigured && failure.what.contains("invalid peer certificate"), "{failure:?}");
    assert!(failure.hints[0].starts_with("does it speak TLS, with a certificate for this name? curl -v "));
    setup.file("ca.crt", "nothing");
    let failure = setup.only().unwrap_err();
    assert!(failure.what.ends_with("tls_config: there is no CA certificate in PEM"), "{failure:?}");
    let failure = Setup::new(vec![alertmanagers(&[&url])]).only().unwrap_err();
    assert!(failure.is_misconfigured, "the machine's authorities do not know it: {failure:?}");
    Setup::new(vec![alertmanagers(&[&url])])
        .http_config("tls_config: {insecure_skip_verify: true}")
        .only()
        .unwrap();
}

#[test]
fn tls_for_another_name() {
    let pki = Pki::new();
    let (_front, url) = pki.front(&["alertmanager.example"], false);
    let failure = pki.setup(&url, "").only().unwrap_err();
    assert!(failure.is_misconfigured && failure.what.contains("not valid for"), "{failure:?}");
    pki.setup(&url, "  server_name: alertmanager.example\n").only().unwrap();
}

#[test]
fn tls_with_a_certificate_of_the_client() {
    let pki = Pki::new();
    let (_front, url) = pki.front(&["localhost"], true);
    let failure = pki.setup(&url, "").only().unwrap_err();
    assert!(failure.is_misconfigured && failure.what.contains("CertificateRequired"), "{failure:?}");
    let files = "  cert_file: client.crt\n  key_file: client.key\n";
    let setup = pki.setup(&url, files);
    let sources = setup.sources();
    only(setup.fetch_by(&sources, None)).unwrap();
    let stranger = Authority::new("stranger").issue(&["client"]);
    setup.file("client.crt", &stranger.certificate);
    let failure = only(setup.fetch_by(&sources, None)).unwrap_err();
    assert!(failure.what.contains("tls_config: the client's certificate is not for this key"), "{failure:?}");
    setup.file("client.key", &stranger.key);
    let failure = only(setup.fetch_by(&sources, None)).unwrap_err();
    assert!(failure.is_misconfigured, "{failure:?}");
}

#[test]
fn proxies() {
    let am = firing_alertmanager();
    let proxy = Front::proxy(&am.url());
    let proxy_url = format!("http://user:{SECRET}@{}", proxy.address());
    // Plain HTTP is read by the proxy, which gets the whole URL and its own credentials.
    Setup::new(vec![alertmanagers(&["http://am.invalid:9093"])])
        .http_config(&format!("proxy_url: {proxy_url}\n"))
        .only()
        .unwrap();
    let head = proxy.heads().remove(0).to_lowercase();
    assert!(head.starts_with("get http://am.invalid:9093/api/v2/status http/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic "), "{head}");
    // TLS goes through a tunnel, in which the proxy's credentials are not repeated.
    let pki = Pki::new();
    pki.am.require_bearer(SECRET);
    let (front, _) = pki.front(&["am.invalid"], false);
    let tunnel = Front::proxy(&format!("http://{}", front.address()));
    let config = format!(
        "proxy_url: http://user:{SECRET}@{}\nproxy_connect_header: {{X-Site: [a]}}\nauthorization: {{credentials: {SECRET}}}\n",
        tunnel.address()
    );
    let setup = pki.setup("https://am.invalid:9093", &config);
    setup.only().unwrap();
    let head = tunnel.heads().remove(0).to_lowercase();
    assert!(
        head.starts_with("connect am.invalid:9093 http/1.1\r\n") && head.contains("x-site: a\r\n"),
        "{head}"
    );
    assert!(head.contains("proxy-authorization: basic ") && !head.contains("bearer"), "{head}");
    assert!(pki.am.requests().iter().all(|request| request.header("proxy-authorization").is_empty()));
    // Not for these.
    let direct = Setup::new(vec![alertmanagers(&[&am.url()])])
        .http_config("proxy_url: http://127.0.0.1:1\nno_proxy: 127.0.0.0/8\n");
    direct.only().unwrap();
    let dead = Setup::new(vec![alertmanagers(&["http://am.invalid"])])
        .http_config(&format!("proxy_url: http://user:{SECRET}@127.0.0.1:1\n"));
    let failure = dead.only().unwrap_err();
    assert!(failure.what.contains("through the proxy 127.0.0.1:1: Connection refused"), "{failure:?}");
    assert!(!format!("{failure:?}").contains(SECRET));
}

#[test]
fn redirects_carry_no_credentials_to_another_host() {
    let (am, other) = (Alertmanager::start_blocking(), firing_alertmanager());
    let config = format!(
        "authorization: {{credentials: {SECRET}}}\nhttp_headers: {{X-Key: {{secrets: [{SECRET}]}}}}\n"
    );
    let to = |url: &str| {
        am.faults().clear();
        am.faults().on("GET", "/api/v2/alerts").times(1).status(302).header(LOCATION, url);
    };
    to(&format!("{}/api/v2/alerts", other.url()));
    let setup = Setup::new(vec![alertmanagers(&[&am.url()])]).http_config(&config);
    assert_eq!(names(&setup.only().unwrap()), ["Hot"], "it is followed");
    let request = other.requests().pop().unwrap();
    assert_eq!((request.header("authorization"), request.header("x-key")), ("", ""));
    assert!(am.requests().iter().all(|request| request.header("x-key") == SECRET));
    // To itself they go along.
    am.forget_requests();
    to("/api/v2/alerts?again");
    setup.only().unwrap();
    assert_eq!(am.requests().pop().unwrap().header("authorization"), format!("Bearer {SECRET}"));
    assert_eq!(am.requests().pop().unwrap().query, "again");
    am.faults().clear();
    am.faults().on("GET", "/api/v2/alerts").status(302).header(LOCATION, "/api/v2/alerts");
    let failure = setup.only().unwrap_err();
    assert!(failure.what.ends_with("redirects more than 10 times"), "{failure:?}");
    to(&format!("http://u:{SECRET}@elsewhere.invalid/"));
    let stays = Setup::new(vec![alertmanagers(&[&am.url()])]).http_config("follow_redirects: false");
    let failure = stays.only().unwrap_err();
    assert!(failure.is_misconfigured && failure.what.ends_with("answered 302 Found"), "{failure:?}");
    assert_eq!(failure.hints, ["it redirects to http://elsewhere.invalid/"]);
}

/// A server that shows what it was sent, as debugging proxies do, and every way in which a secret could be logged.
#[test]
fn no_log_line_and_no_error_has_a_secret() {
    let world = crate::support::World::sandbox();
    let config = world.file(
        "http.yaml",
        &format!(
            "basic_auth: {{username: reader, password: {SECRET}}}\nhttp_headers: {{X-Key: {{secrets: [{SECRET}]}}}}\n\
             tls_config: {{insecure_skip_verify: true}}\n"
        ),
    );
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let encoded = "cmVhZGVyOnMzY3IzdC1odW50ZXIy"; // reader:s3cr3t-hunter2
    let fault = world
        .alertmanager()
        .faults()
        .on("GET", "/api/v2/alerts")
        .status(400)
        .message(&format!("you sent Authorization: Basic {encoded} and X-Key: {SECRET}"));
    let run = world.sync(&["-v", "9", "--http-config", &path(&config)]).exits(11);
    assert!(run.stderr.contains("you sent Authorization: Basic <secret> and X-Key: <secret>"), "{run:#?}");
    run.never_says(SECRET).never_says(encoded);
    fault.stop();
    world.sync(&["-v", "9", "--http-config", &path(&config)]).exits(0).never_says(SECRET).never_says(encoded);
    let with_password = world.alertmanager_url().replace("http://", &format!("http://reader:{SECRET}@"));
    world
        .sync(&["-v", "9", "--alertmanager", &with_password])
        .exits(0)
        .never_says(SECRET)
        .never_says(encoded);
    let proxied = world.file("proxied.yaml", &format!("proxy_url: http://reader:{SECRET}@127.0.0.1:1\n"));
    world
        .sync(&["-v", "9", "--http-config", &path(&proxied)])
        .exits(11)
        .never_says(SECRET)
        .never_says(encoded);
    let broken = world.file("broken.yaml", &format!("basic_auth: {SECRET}\n"));
    world
        .sync(&["-v", "9", "--http-config", &path(&broken)])
        .exits(2)
        .says("broken.yaml:1: basic_auth: expected a mapping, found a string")
        .never_says(SECRET);
}
