//! What `fuzz/` feeds with bytes. `tests/it/fuzz.rs` replays `fuzz/corpus` through the same functions.

use crate::core::alert::{Alert, Labels, Priority};
use crate::core::expression::{Expression, Matching};
use crate::core::matcher::Matcher;
use crate::core::node::Node;

/// An Alertmanager's answer.
pub fn alertmanager(input: &[u8]) {
    crate::source::parse_alertmanager(input).iter().flatten().for_each(look_at);
}

/// A Prometheus' answer.
pub fn prometheus(input: &[u8]) {
    crate::source::parse_prometheus(input).iter().flatten().for_each(look_at);
}

fn look_at(alert: &Alert) {
    let again = Alert { labels: alert.labels.iter().collect(), ..Alert::default() };
    assert_eq!(alert.fingerprint(), again.fingerprint());
    let _ = (alert.severity(), alert.annotation("summary"), alert.label("alertname"));
}

/// The file of `--http-config`. What is wrong in it is said without what stands there: it may be a secret.
pub fn http_config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = crate::source::parse_http_config(&text, std::path::Path::new("/etc"));
}

/// A matcher, and the value of the label that it names behind a zero byte.
pub fn matcher(input: &[u8]) {
    let [matcher, value] = parts(input);
    let Ok(matcher) = matcher.parse::<Matcher>() else { return };
    let written = matcher.to_string();
    assert_eq!(written.parse().as_ref(), Ok(&matcher), "{written}");
    let labels = Labels::from([(matcher.name.clone(), value)]);
    matcher.matches(&Alert { labels, ..Alert::default() });
}

/// A label's value that should be a priority.
pub fn priority(input: &[u8]) {
    let Some(priority) = Priority::parse(&String::from_utf8_lossy(input)) else { return };
    assert!(priority.number() <= 999);
    assert_eq!(Priority::parse(&priority.to_string()), Some(priority));
}

/// An expression, and behind zero bytes the values of `node`, `instance` and `cluster`. An index decides as the
/// interpreter would have, node by node.
pub fn expression(input: &[u8]) {
    let [expression, node, instance, cluster] = parts(input);
    let Ok(expression) = expression.parse::<Expression>() else { return };
    let nodes = ["w1", "w2.example", "w3", "w3.example", "W1"]
        .map(|name| Node { name: name.to_owned(), ..Node::default() });
    let labels = [("node", node), ("instance", instance), ("cluster", cluster)];
    let labels: Labels = labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let alert = Alert { annotations: labels.clone(), labels, ..Alert::default() };
    let matching = Matching::new(&expression, &nodes);
    assert_eq!(matching.find(&alert).nodes(), matching.find_one_by_one(&alert).nodes(), "{expression}");
}

/// The input's parts between zero bytes; the last has the rest.
fn parts<const N: usize>(input: &[u8]) -> [String; N] {
    let mut parts = input.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned())
}
