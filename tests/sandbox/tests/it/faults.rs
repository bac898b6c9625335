//! What goes wrong on request, and what is recorded of it.

use std::time::{Duration, Instant};

use sandbox::{Alertmanager, ApiServer};
use serde_json::{Value, json};

const NODES: &str = "/api/v1/nodes";

fn client() -> reqwest::Client {
    _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn get(url: &str) -> (u16, String) {
    let response = client().get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_status_so_many_times_after_so_many_requests() {
    let server = ApiServer::start().await;
    let url = format!("{}{NODES}", server.url());
    let fault = server.faults().on("GET", NODES).after(1).times(2).status(503);
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(get(&url).await.0);
    }
    assert_eq!((codes, fault.hits()), (vec![200, 503, 503, 200], 2));

    server.faults().on("GET", NODES).times(1).status(429).retry_after(7).message("slow down");
    let response = client().get(&url).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    let status: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("TooManyRequests")));
    assert_eq!(status["message"], "slow down");
}

#[tokio::test]
async fn only_the_requests_that_are_meant() {
    let server = ApiServer::start().await;
    let fault = server.faults().on("*", "/api/v1/n*").query("limit=2").status(500);
    for (path, code) in
        [("/api/v1/nodes?limit=2", 500), ("/api/v1/nodes?limit=3", 200), ("/api/v1/pods?limit=2", 200)]
    {
        assert_eq!(get(&format!("{}{path}", server.url())).await.0, code, "{path}");
    }
    fault.stop();
    assert_eq!(get(&format!("{}/api/v1/nodes?limit=2", server.url())).await.0, 200);
}

#[tokio::test]
async fn forbidden_in_the_servers_words() {
    let server = ApiServer::start().await;
    server.faults().on("GET", NODES).forbid();
    let (code, body) = get(&format!("{}{NODES}", server.url())).await;
    assert_eq!(code, 403);
    let status: Value = serde_json::from_str(&body).unwrap();
    let message = "nodes is forbidden: User \"sandbox\" cannot list resource \"nodes\" in API group \"\" at the cluster scope";
    assert_eq!(status["message"], message);
}

#[tokio::test]
async fn broken_connections_and_bodies() {
    let server = ApiServer::start().await;
    for name in ["w1", "w2"] {
        server.store().put(sandbox::node(name));
    }
    let url = format!("{}{NODES}", server.url());

    server.faults().on("GET", NODES).times(1).drop_connection();
    assert!(client().get(&url).send().await.is_err());

    server.faults().on("GET", NODES).times(1).truncate(1000);
    let response = client().get(&url).send().await.unwrap();
    assert!(response.content_length().unwrap() > 1000);
    assert!(response.text().await.is_err());

    server.faults().on("GET", NODES).times(1).body("text/html", "<html>login</html>");
    assert_eq!(get(&url).await, (200, "<html>login</html>".into()));

    server.faults().on("GET", NODES).times(1).delay(Duration::from_millis(150));
    let start = Instant::now();
    assert_eq!(get(&url).await.0, 200);
    assert!(start.elapsed() >= Duration::from_millis(150));

    server.faults().on("GET", NODES).times(1).warning("\"nodes\" are old");
    let response = client().get(&url).send().await.unwrap();
    assert_eq!(response.headers()["warning"], "299 - \"\\\"nodes\\\" are old\"");

    server.faults().on("GET", NODES).times(1).huge(5);
    let body = get(&url).await.1;
    assert_eq!(body.len(), 5 << 20);
    assert!(body.bytes().all(|byte| byte == b' '));
}

#[tokio::test]
async fn a_watch_can_break_in_the_middle() {
    let server = ApiServer::start().await;
    server.store().put(sandbox::node("w1"));
    server.faults().on("GET", NODES).query("watch=true").truncate(500);
    let response = client().get(format!("{}{NODES}?watch=true", server.url())).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.text().await.is_err());
}

#[tokio::test]
async fn somebody_else_was_faster() {
    let server = ApiServer::start().await;
    server.store().put(sandbox::node("w1"));
    server.before("GET", "/api/v1/nodes/w1", |store| store.set_condition("w1", "Ready", "False"));
    let url = format!("{}{NODES}/w1", server.url());
    assert!(get(&url).await.1.contains("set by a test"));
    let first = server.store().node("w1")["metadata"]["uid"].clone();
    assert_eq!(server.store().condition("w1", "Ready").unwrap()["status"], "False");

    server.before("GET", NODES, |store| _ = store.recreate("nodes", "", "w1"));
    get(&format!("{}{NODES}", server.url())).await;
    assert_ne!(server.store().node("w1")["metadata"]["uid"], first);
    server.before("GET", "*", |store| _ = store.remove("nodes", "", "w1"));
    assert_eq!(get(&url).await.0, 404);
}

#[tokio::test]
async fn requests_are_recorded() {
    let server = ApiServer::start().await;
    let url = format!("{}{NODES}/w1?fieldManager=me&dryRun=All", server.url());
    for (agent, url) in [("one/1", url.as_str()), ("two/1", url.trim_end_matches("&dryRun=All"))] {
        let request = client()
            .patch(url)
            .header("user-agent", agent)
            .header("content-type", "application/merge-patch+json");
        request.body("{\"a\":1}").send().await.unwrap();
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let first = &requests[0];
    assert_eq!((first.method.as_str(), first.path.as_str()), ("PATCH", "/api/v1/nodes/w1"));
    assert_eq!((first.parameter("fieldManager").as_deref(), first.user_agent()), (Some("me"), "one/1"));
    assert_eq!((first.content_type(), first.json()), ("application/merge-patch+json", json!({"a": 1})));
    assert_eq!(server.requests_by("two").len(), 1);
    assert_eq!(server.writes_by("one"), Vec::<String>::new());
    assert_eq!(server.writes_by("two"), ["PATCH /api/v1/nodes/w1"]);
    server.forget_requests();
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_alertmanager_has_the_same_faults() {
    let alertmanager = Alertmanager::start().await;
    let url = format!("{}/api/v2/alerts", alertmanager.url());
    alertmanager.faults().on("GET", "/api/v2/alerts").times(1).status(503);
    let (code, body) = get(&url).await;
    assert_eq!(
        (code, body.as_str()),
        (503, "Limit of concurrent GET requests reached (8), try again later.\n")
    );
    assert_eq!(get(&url).await, (200, "[]".into()));
}

#[test]
fn a_test_need_not_be_async() {
    let url = {
        let server = ApiServer::start_blocking();
        let mut stream = std::net::TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
        std::io::Write::write_all(
            &mut stream,
            b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
        .unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
        server.url()
    };
    assert!(std::net::TcpStream::connect(url.trim_start_matches("http://")).is_err(), "dropped, it is gone");
}
