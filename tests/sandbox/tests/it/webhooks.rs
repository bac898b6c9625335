//! Admission webhooks: what an API server answers for them.

use std::time::Duration;

use sandbox::{Verdict, Webhook};
use serde_json::{Value, json};

use crate::{Cluster, NODES};

/// A request that the webhook is asked about, and what came of it; what differs from webhook to webhook is taken out.
async fn patch(cluster: &Cluster, webhook: &Webhook, path: &str) -> (u16, Value) {
    let (code, answer) = cluster.patch(path, &json!({"metadata": {"labels": {"some": "label"}}})).await;
    let port = webhook.configuration("", &[], "")["webhooks"][0]["clientConfig"]["url"].to_string();
    let port = port.trim_matches(['"', '/']).rsplit(':').next().unwrap().to_owned();
    (code, serde_json::from_str(&answer.to_string().replace(&port, "PORT")).unwrap())
}

#[tokio::test]
async fn f9_d4_d5_d6_what_a_webhook_says_is_passed_on() {
    let denials = [
        json!({"code": 429, "message": "not yet"}),
        json!({"code": 429, "message": "later", "reason": "TooManyRequests", "details": {"retryAfterSeconds": 20}}),
        json!({"code": 403, "message": "not this one", "reason": "Forbidden"}),
        json!({"code": 400, "message": "not so"}),
        json!({"code": 500, "message": "broken"}),
        json!({"code": 200, "reason": "Conflict"}),
        json!({}),
    ];
    let mut all = Vec::new();
    for cluster in Cluster::all("webhook").await {
        let node = cluster.node("a", &json!({})).await;
        let name = node.strip_prefix(&format!("{NODES}/")).unwrap();
        let webhook = Webhook::start("guard.example.com");
        let rules = [("UPDATE", "nodes")];
        let configuration = cluster.asks(&webhook, &rules, &format!("request.name == {name:?}")).await;
        webhook.says(Verdict::Deny(denials[0].clone()));
        let first = async || patch(&cluster, &webhook, &node).await.0 == 429;
        for _ in 0..200 {
            if first().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut answers = Vec::new();
        for denial in &denials {
            webhook.says(Verdict::Deny(denial.clone()));
            answers.push(patch(&cluster, &webhook, &node).await);
        }
        for verdict in [Verdict::Slow, Verdict::Away, Verdict::Allow] {
            webhook.says(verdict);
            let (code, mut answer) = patch(&cluster, &webhook, &node).await;
            if code == 200 {
                answer = Value::Null;
            }
            answers.push((code, answer));
        }
        webhook.says_first("", 1, &Verdict::Deny(denials[3].clone()));
        let dry_run = cluster
            .patch(&format!("{node}?dryRun=All"), &json!({"metadata": {"labels": {"a": "b"}}}))
            .await
            .0;
        let asked = webhook.asked();
        assert_eq!((dry_run, asked.last()), (200, Some(&(name.to_owned(), true))), "{}", cluster.name);
        let then = [patch(&cluster, &webhook, &node).await.0, patch(&cluster, &webhook, &node).await.0];
        assert_eq!(then, [400, 200], "{}", cluster.name);
        cluster.delete(&configuration).await;
        cluster.delete(&node).await;
        all.push((cluster.name, answers));
    }
    let said = |code: u16| all[0].1.iter().filter(|(one, _)| *one == code).count();
    assert_eq!((said(429), said(403), said(400), said(500), said(200)), (2, 1, 3, 3, 1), "{:#?}", all[0]);
    for (name, answers) in &all[1..] {
        for (ours, theirs) in all[0].1.iter().zip(answers) {
            assert_eq!(ours, theirs, "{name}");
        }
    }
}
