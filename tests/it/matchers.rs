//! Matchers judge as an Alertmanager does: the same alerts, asked for with `filter`, and judged here.

use std::collections::BTreeSet;

use reqwest::Url;
use sciuro::core::alert::{Alert, Labels};
use sciuro::core::matcher::Matcher;
use serde_json::Value;

use crate::support::{World, scenarios};

scenarios!(a_matcher_judges_as_the_alertmanager_does);

/// Values of the label `x`; an empty one is none.
const VALUES: [&str; 16] = [
    "",
    "a",
    "A",
    "b",
    "ab",
    "xax",
    "a\nb",
    "a\n",
    "a.b",
    "a\\b",
    "a\"b",
    "é",
    "node-condition-k8s",
    "page node-condition-k8s",
    "page,node-condition-k8s",
    "w1:9100",
];

const MATCHERS: [&str; 35] = [
    "x=a",
    "x!=a",
    "x=",
    "x!=",
    r#"x="""#,
    r#"x!="""#,
    r#"x="a\\b""#,
    r#"x="a\"b""#,
    r#"x="a\nb""#,
    r#"x=~"a|b""#,
    r#"x!~"a|b""#,
    r#"x=~"a""#,
    r#"x=~"""#,
    r#"x!~"""#,
    r#"x=~".*""#,
    r#"x!~".*""#,
    r#"x=~".+""#,
    r#"x!~".+""#,
    r#"x=~".""#,
    r#"x=~"a.b""#,
    r#"x=~"a\.b""#,
    r#"x=~"a\\.b""#,
    r#"x=~"(?s)a.b""#,
    r#"x=~"(?i)a""#,
    r#"x=~"(?m)a$""#,
    r#"x=~"a$""#,
    r#"x=~"^a$""#,
    r#"x=~"a\n?""#,
    r#"x=~"[^a]+""#,
    r#"x=~"[[:alpha:]]{2,3}""#,
    r#"x=~"\\pL""#,
    r#"x=~"a)|(b""#,
    r#"x=~"(.*\s)?node-condition-k8s(\s.*)?""#,
    r#"x=~"\w+:\d+""#,
    r#"x!~"(?U)a.*""#,
];

/// No regular expressions here, and there.
const INVALID: [&str; 6] =
    [r#"x=~"(""#, r#"x=~"a{2,1}""#, r#"x=~"[b-a]""#, r#"x=~"(?<n""#, r#"x!~"*""#, r#"x=~"a\\""#];

fn a_matcher_judges_as_the_alertmanager_does(world: &World) {
    let own = world.name("matchers");
    for value in VALUES {
        let number = VALUES.iter().position(|other| *other == value).unwrap().to_string();
        let mut labels = vec![("alertname", "Matched"), ("of", own.as_str()), ("number", number.as_str())];
        labels.extend((!value.is_empty()).then_some(("x", value)));
        world.alert(&labels, "", true);
    }
    let of = format!("of={own:?}");
    let all = ask(world, &[&of]).unwrap();
    assert_eq!(all.len(), VALUES.len());
    for text in MATCHERS {
        let matcher: Matcher = text.parse().unwrap();
        let judged: BTreeSet<Labels> = all
            .iter()
            .filter(|labels| matcher.matches(&Alert { labels: (*labels).clone(), ..Alert::default() }))
            .cloned()
            .collect();
        assert_eq!(Ok(judged), ask(world, &[&of, &matcher.to_string()]), "{text}");
    }
    for text in INVALID {
        assert!(text.parse::<Matcher>().is_err(), "{text}");
        assert_eq!(ask(world, &[text]), Err(400), "{text}");
    }
}

/// The labels of the alerts that the Alertmanager gives for these filters, or its refusal.
fn ask(world: &World, filters: &[&str]) -> Result<BTreeSet<Labels>, u16> {
    let mut url = Url::parse(&format!("{}/api/v2/alerts", world.alertmanager_url())).unwrap();
    url.query_pairs_mut().extend_pairs(filters.iter().map(|filter| ("filter", filter)));
    world.block_on(async {
        let answer = reqwest::get(url).await.unwrap();
        if !answer.status().is_success() {
            return Err(answer.status().as_u16());
        }
        let alerts: Vec<Value> = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        Ok(alerts.iter().map(|alert| serde_json::from_value(alert["labels"].clone()).unwrap()).collect())
    })
}
