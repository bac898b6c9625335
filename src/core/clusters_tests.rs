#![allow(clippy::unwrap_used)]

use super::Learning::{Allowed, Forgetful, Incomplete};
use super::*;

fn alert(labels: &[(&str, &str)]) -> Alert {
    let labels = [("alertname", "NodeOnFire"), ("node", "w1")].iter().chain(labels);
    Alert { labels: labels.copied().collect(), ..Alert::default() }
}

/// Alerts of these clusters, that name w1.
fn of(names: &[&str]) -> Vec<Alert> {
    names.iter().map(|name| alert(&[("cluster", name)])).collect()
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// What is known, and how one round is judged.
#[derive(Default)]
struct Given {
    known: Clusters,
    filters: Vec<&'static str>,
    expression: Option<&'static str>,
    watchdogs: BTreeSet<String>,
    label: Option<&'static str>,
}

impl Given {
    fn known(own: &str) -> Self {
        Self { known: Clusters::own("cluster", own), ..Self::default() }
    }

    fn filtered(filter: &'static str) -> Self {
        Self { filters: vec![r#"job="x""#, filter], ..Self::default() }
    }

    fn judges(&self, alerts: &[Alert], learning: Learning) -> Ours {
        let node = Node { name: "w1".to_owned(), ..Node::default() };
        let expression = self.expression.map(|text| text.parse().unwrap());
        let filters: Vec<Matcher> = self.filters.iter().map(|filter| filter.parse().unwrap()).collect();
        let scope = Scope {
            policy: &SelectionPolicy { expression, ..SelectionPolicy::default() },
            cluster_label: self.label.unwrap_or("cluster"),
            filters: &filters,
            known: &self.known,
        };
        ours(alerts, &self.watchdogs, &[node], &scope, learning)
    }

    #[track_caller]
    fn allows(&self, alerts: &[Alert], own: Option<&str>) {
        let Ours { selection, clusters, doubt } = self.judges(alerts, Allowed);
        assert_eq!(doubt, None);
        assert_eq!(clusters.own_value("cluster"), own);
        assert_eq!(selection.firing[0].len(), 1);
    }

    /// Nothing that is labelled fires, and what is shown stays.
    #[track_caller]
    fn doubts(&self, alerts: &[Alert], expected: &Doubt) -> Clusters {
        let Ours { selection, clusters, doubt } = self.judges(alerts, Allowed);
        assert_eq!(doubt.as_ref(), Some(expected));
        assert!(selection.firing[0].is_empty(), "{selection:?}");
        clusters
    }
}

fn several(seen: &[&str], matched: &[&str]) -> Doubt {
    Doubt::Several { seen: set(seen), matched: set(matched) }
}

#[test]
fn row_81_alerts_of_several_clusters_need_a_filter() {
    let both = of(&["a", "b"]);
    let fresh = Given::default();
    fresh.doubts(&both, &several(&["a", "b"], &["a", "b"]));
    Given::filtered(r#"job="y""#).doubts(&both, &several(&["a", "b"], &["a", "b"]));
    Given::filtered(r#"cluster="a""#).allows(&of(&["a"]), Some("a"));
    Given { label: Some("datacenter"), ..Given::default() }.allows(&both, None);
    fresh.allows(&of(&["a", "a", ""]), Some("a"));
    fresh.allows(&of(&["", ""]), None);
    // Alerts that act on no node here do no harm, once it is known which are ours.
    let mut elsewhere = of(&["a", "b", "b"]);
    elsewhere[1].labels.insert("node", "w2");
    elsewhere[2].silenced = true;
    Given::known("a").allows(&elsewhere, Some("a"));
}

#[test]
fn row_81_an_expression_may_choose_the_cluster() {
    for (expression, is_chosen) in [
        ("labels.node == FullName", false),
        ("labels.node == FullName && labels.cluster in [\"a\", \"b\"]", true),
        ("labels.node == FullName && labels[\"cluster\"] != \"\"", true),
    ] {
        let given = Given { expression: Some(expression), ..Given::default() };
        assert_eq!(given.judges(&of(&["a", "b"]), Allowed).doubt.is_none(), is_chosen, "{expression}");
    }
}

#[test]
fn t15_d1_once_known_another_cluster_is_refused_alone_too() {
    let doubt = |others: &[&str]| Doubt::Others { own: "a".to_owned(), others: set(others) };
    let known = Given::known("a");
    assert_eq!(known.doubts(&of(&["b"]), &doubt(&["b"])), known.known, "the known cluster does not change");
    let Ours { selection, doubt: found, .. } = known.judges(&of(&["b", "a", "c"]), Allowed);
    assert_eq!((found, selection.firing[0].len()), (Some(doubt(&["b", "c"])), 1), "its own fires, too");
    assert_eq!((selection.counts.alerts, selection.counts.other_clusters), (3, 2));
    // A filter says otherwise: the cluster is called so now.
    Given { known: Clusters::own("cluster", "a"), ..Given::filtered(r#"cluster="b""#) }
        .allows(&of(&["b"]), Some("b"));
    // What a label says of clusters, another does not.
    let given = Given { label: Some("region"), ..Given::known("a") };
    given.allows(&[alert(&[("cluster", "b")])], Some("a"));
}

#[test]
fn t15_d1_several_are_seen_wherever_they_show() {
    let mut elsewhere = of(&["a", "b"]);
    elsewhere[1].labels.insert("node", "w2");
    let mut silenced = of(&["a", "b"]);
    silenced[1].silenced = true;
    let fresh = Given::default();
    for alerts in [elsewhere, silenced] {
        let left = fresh.doubts(&alerts, &several(&["a", "b"], &["a"]));
        for alone in ["a", "b"] {
            let given = Given { known: left.clone(), ..Given::default() };
            given.doubts(&of(&[alone]), &several(&["a", "b"], &[alone]));
        }
    }
    let watched = Given { watchdogs: set(&["a", "b"]), ..Given::default() };
    watched.doubts(&of(&["b"]), &several(&["a", "b"], &["b"]));
    let nothing_matches = several(&["a", "b"], &[]);
    watched.doubts(&[], &nothing_matches);
    assert!(!nothing_matches.matters());
    let other = Given { watchdogs: set(&["a"]), ..Given::default() };
    other.doubts(&of(&["b"]), &several(&["a", "b"], &["b"]));
    // Its own watchdog is enough to know it by.
    assert_eq!(other.judges(&[], Allowed).clusters, Clusters::own("cluster", "a"));
}

#[test]
fn t15_d1_nothing_is_learnt_from_alerts_of_elsewhere_or_from_half_a_round() {
    let fresh = Given::default();
    let elsewhere = alert(&[("cluster", "b"), ("node", "w2")]);
    let left = fresh.judges(&[elsewhere], Allowed);
    assert_eq!((left.doubt, left.clusters.own_value("cluster")), (None, None));
    let given = Given { known: left.clusters, ..Given::default() };
    given.doubts(&of(&["a"]), &several(&["a", "b"], &["a"]));
    given.allows(&of(&["b"]), Some("b"));

    for learning in [Incomplete, Forgetful] {
        let Ours { selection, clusters, doubt } = fresh.judges(&of(&["a"]), learning);
        assert_eq!(doubt, Some(Doubt::Unproven { value: "a".to_owned(), why: learning }));
        assert!(selection.firing[0].is_empty() && !selection.pending[0].is_empty());
        Given { known: clusters.clone(), ..Given::default() }.allows(&of(&["a"]), Some("a"));
        Given { known: clusters, ..Given::default() }.doubts(&of(&["b"]), &several(&["a", "b"], &["b"]));
    }
}

#[test]
fn t15_d1_what_a_filter_says_is_kept_from_a_complete_round_alone() {
    for (known, kept) in [(Clusters::default(), None), (Clusters::own("cluster", "a.k8s"), Some("a.k8s"))] {
        let given = Given { known, ..Given::filtered(r#"cluster="a.k8""#) };
        assert_eq!(given.judges(&[], Incomplete).clusters.own_value("cluster"), kept);
        assert_eq!(given.judges(&[], Allowed).clusters.own_value("cluster"), Some("a.k8"));
    }
}

#[test]
fn t15_d1_alerts_without_the_label_are_ours_as_ever() {
    let mut mixed = of(&["a", "b", ""]);
    mixed[2].labels.insert("alertname", "Plain");
    let selection = Given::default().judges(&mixed, Allowed).selection;
    assert_eq!(selection.firing[0].keys().collect::<Vec<_>>(), ["AlertManager_Plain"]);
    assert_eq!(selection.pending[0], set(&["AlertManager_NodeOnFire"]));
}

#[test]
fn t15_d1_what_is_written_on_the_lease_is_read() {
    let mut seen = of(&["a", "b\n\"c\\\"", "d, e", "é"]);
    seen.push(alert(&[("cluster", &"x".repeat(254))]));
    seen.extend((0..100).map(|number| alert(&[("cluster", &format!("n{number:03}"))])));
    let several = Given::default().judges(&seen, Allowed).clusters;
    for clusters in [Clusters::default(), Clusters::own("cluster", "a \"b\"\nc"), several] {
        let annotations = clusters.annotations().map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(Clusters::read(&annotations), clusters);
        assert!(annotations.values().map(String::len).sum::<usize>() < 4096);
    }
    // Longer than what is kept is never believed.
    let long = "x".repeat(254);
    let given = Given::default();
    let left = given.doubts(&of(&[&long]), &Doubt::Several { seen: set(&[&long]), matched: set(&[&long]) });
    assert_eq!(left, Clusters { label: "cluster".to_owned(), ..Clusters::default() });
}

#[test]
fn t15_d3_a_doubt_about_a_name_lasts_until_nothing_leads_there() {
    let of = |name: &str| Alert {
        labels: [("alertname", "NodeOnFire"), ("node", name)].into(),
        ..Alert::default()
    };
    let (one, two) = (of("w1.dc1.example"), of("w1.dc2.example"));
    let judged = |known: &Clusters, filters: &[&'static str], alerts: &[Alert], learning| {
        let given = Given { known: known.clone(), filters: filters.to_vec(), ..Given::default() };
        let Ours { selection, clusters, doubt } = given.judges(alerts, learning);
        assert_eq!(doubt, None);
        assert_eq!(selection.firing[0].len() + selection.ambiguous[0].len(), usize::from(!alerts.is_empty()));
        (selection.firing[0].len(), clusters)
    };
    let nothing = &Clusters::default();
    assert_eq!(judged(nothing, &[], std::slice::from_ref(&one), Allowed), (1, nothing.clone()));
    for known in [nothing.clone(), Clusters::own("cluster", "a")] {
        let (fire, doubted) = judged(&known, &[], &[one.clone(), two.clone()], Allowed);
        assert_eq!((fire, &doubted.doubted), (0, &set(&["w1"])));
        let annotations = doubted.annotations().map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(Clusters::read(&annotations), doubted);
        // One has ended: whichever it was.
        for left in [&one, &two] {
            assert_eq!(judged(&doubted, &[], std::slice::from_ref(left), Allowed), (0, doubted.clone()));
        }
        assert_eq!(judged(&doubted, &[], &[], Allowed), (0, known.clone()), "both have");
        assert_eq!(judged(&doubted, &[], &[], Incomplete), (0, doubted.clone()), "or were not heard");
        // By its own name it is not in doubt, and a filter on such a label decides.
        assert_eq!(judged(&doubted, &[], &[of("w1")], Allowed), (1, known.clone()));
        for filter in [r#"node!="w1.dc2.example""#, r#"instance=~".+""#] {
            assert_eq!(judged(&doubted, &[filter], std::slice::from_ref(&one), Allowed), (1, known.clone()));
        }
        assert_eq!(
            judged(&doubted, &[r#"job="x""#], std::slice::from_ref(&one), Allowed),
            (0, doubted.clone())
        );
    }
}
