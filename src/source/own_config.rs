//! What a source says of its own configuration. It is YAML, with its secrets left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Of 10,000 routes.
const LONGEST: usize = 4 << 20;

/// `None` is what cannot be read, which proves nothing.
fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    if text.len() > LONGEST {
        return None;
    }
    let options = serde_saphyr::options! { budget: serde_saphyr::budget! { max_depth: 64 } };
    serde_saphyr::from_str_with_options(text, options).ok()
}

/// The receivers to which any route of an Alertmanager leads.
pub(super) fn routed(text: &str) -> Option<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Config {
        route: Route,
    }

    #[derive(Deserialize)]
    struct Route {
        receiver: Option<String>,
        routes: Option<Vec<Route>>,
    }

    let mut left = vec![read::<Config>(text)?.route];
    let mut routed = BTreeSet::new();
    while let Some(route) = left.pop() {
        routed.extend(route.receiver);
        left.extend(route.routes.into_iter().flatten());
    }
    Some(routed)
}

/// The labels that a Prometheus adds to what it sends elsewhere; there may be none.
pub(super) fn external_labels(text: &str) -> Option<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Config {
        global: Global,
    }

    #[derive(Deserialize)]
    struct Global {
        external_labels: Option<BTreeMap<String, String>>,
    }

    Some(read::<Config>(text)?.global.external_labels.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn t15_d11_the_receivers_of_routes() {
        let text = "global: {resolve_timeout: 5m, smtp_hello: localhost}\nroute:\n  receiver: default\n  continue: false\n  routes:\n  \
                    - receiver: a/b/c\n    matchers: [x=\"y\"]\n  - matchers: [z=\"y\"]\n    routes: [{receiver: '7'}, {receiver: 8}]\n\
                    receivers: [{name: default}, {name: unrouted, slack_configs: [{api_url: <secret>}]}]\ntemplates: []\n";
        let routed = routed(text).unwrap();
        assert_eq!(routed.iter().collect::<Vec<_>>(), ["7", "8", "a/b/c", "default"]);
    }

    #[test]
    fn t15_d11_labels_of_a_prometheus() {
        let text = "global:\n  scrape_interval: 30s\n  external_labels:\n    cluster: a.k8s\n    replica: \"0\"\nrule_files: [x]\n";
        let labels = external_labels(text).unwrap();
        assert_eq!(
            labels.into_iter().collect::<Vec<_>>(),
            [("cluster".to_owned(), "a.k8s".to_owned()), ("replica".to_owned(), "0".to_owned())]
        );
        assert_eq!(external_labels("global: {scrape_interval: 30s}"), Some(BTreeMap::new()));
    }

    #[test]
    fn t15_d11_what_cannot_be_read_proves_nothing() {
        let deep = format!("route: {}{}", "{routes: [".repeat(10_000), "]}".repeat(10_000));
        let doubled: Vec<String> =
            (1..40).map(|n| format!("b{n}: &b{n} [*b{before}, *b{before}]", before = n - 1)).collect();
        let bomb = format!("b0: &b0 [x, x]\n{}\nroute: {{receiver: x}}", doubled.join("\n"));
        let long = format!("route: {{receiver: x}} #{}", "x".repeat(LONGEST));
        for text in ["", "<html>", "route: 7", "route: [", "a: 1", &deep, &long] {
            assert_eq!((routed(text), external_labels(text)), (None, None), "{text:.40}");
        }
        assert!(routed(&bomb).is_none_or(|routed| routed.len() == 1));
    }
}
