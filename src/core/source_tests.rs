//! Rows of `spec/sync.md` §7 on what several sources come to, and the laws of their union.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::unnecessary_wraps)] // answers stand beside failures

use proptest::prelude::*;
use proptest::sample::select as any_of;

use super::SourceState::{Down, Full, Partial};
use super::*;

fn time(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
}

fn alert(name: &str) -> Alert {
    Alert { labels: [("alertname", name), ("node", "w1")].into(), ..Alert::default() }
}

fn ok(alerts: &[Alert]) -> Result<Answer, Failure> {
    Ok(Answer { alerts: alerts.to_vec(), ..Answer::default() })
}

fn with(change: impl FnOnce(&mut Answer)) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    change(&mut answer);
    Ok(answer)
}

fn warming() -> Result<Answer, Failure> {
    with(|answer| answer.warming = Some(Warming { up_for: SignedDuration::from_mins(1), until: time(4) }))
}

fn warned() -> Result<Answer, Failure> {
    with(|answer| answer.warnings = vec!["store is away".to_owned()])
}

fn sees_canary(sees: bool) -> Result<Answer, Failure> {
    with(|answer| answer.canary = Some(sees))
}

fn failed() -> Result<Answer, Failure> {
    Err(Failure {
        reason: FailureReason::Timeout,
        is_misconfigured: false,
        what: "no answer".to_owned(),
        hints: Vec::new(),
    })
}

fn group(answers: impl IntoIterator<Item = Result<Answer, Failure>>) -> Group {
    let members = answers.into_iter().enumerate();
    Group {
        members: members
            .map(|(number, answer)| Member {
                name: format!("m{number}"),
                took: std::time::Duration::ZERO,
                answer,
            })
            .collect(),
        has_unasked_members: false,
    }
}

fn gathered(groups: impl IntoIterator<Item = Group>) -> Gathered {
    gather(groups.into_iter().collect(), &Canary::Auto, false, None)
}

fn state_of(groups: impl IntoIterator<Item = Group>) -> SourceState {
    gathered(groups).trust.state
}

fn one<const COUNT: usize>(answers: [Result<Answer, Failure>; COUNT]) -> SourceState {
    state_of([group(answers)])
}

#[test]
fn s18_without_an_answer_there_is_no_source() {
    assert_eq!(state_of([]), Down);
    assert_eq!(one([]), Down, "a Service without endpoints");
}

#[test]
fn s21_a_member_that_fails_lists_nothing() {
    let gathered = gathered([group([failed()])]);
    assert_eq!((gathered.trust.state, gathered.alerts), (Down, vec![]));
}

#[test]
fn row_36_what_one_member_knows_fires() {
    let x = [alert("X")];
    assert_eq!(gathered([group([ok(&x), ok(&[])])]).alerts, x);
    assert_eq!(gathered([group([ok(&[]), ok(&x)])]).alerts, x);
}

#[test]
fn row_37_one_good_member_is_enough() {
    let gathered = gathered([group([failed(), ok(&[alert("X")])])]);
    assert_eq!((gathered.trust.state, gathered.alerts.len()), (Full, 1));
    assert_eq!(gathered.trust.failures().map(|(name, _)| name).collect::<Vec<_>>(), ["m0"]);
}

#[test]
fn row_38_a_silence_on_any_member_wins() {
    let [plain, silenced] = [false, true].map(|silenced| [Alert { silenced, ..alert("X") }]);
    for answers in [[ok(&plain), ok(&silenced)], [ok(&silenced), ok(&plain)]] {
        assert_eq!(gathered([group(answers)]).alerts, silenced);
    }
}

#[test]
fn rows_39_and_40_a_member_that_just_started_proves_nothing() {
    assert_eq!(one([warming(), failed()]), Partial);
    assert!(!gathered([group([warming(), failed()])]).trust.is_only_warming());
    assert_eq!(one([warming(), warming()]), Partial);
    assert!(gathered([group([warming()])]).trust.is_only_warming());
    assert!(gathered([group([warming(), warming()]), group([ok(&[]), failed()])]).trust.is_only_warming());
    assert!(!gathered([group([warming()]), group([failed()])]).trust.is_only_warming());
    assert!(!gathered([group([warming()]), group([])]).trust.is_only_warming());
    assert!(!gathered([group([ok(&[])])]).trust.is_only_warming());
    assert_eq!(one([warming(), ok(&[])]), Full, "the other knows");
}

#[test]
fn row_42_a_canary_that_was_seen_and_is_missing_fails_its_member() {
    let state = |answer, canary: &Canary, seen| gather(vec![group([answer])], canary, seen, None).trust.state;
    assert_eq!(state(sees_canary(false), &Canary::Auto, true), Down);
    assert_eq!(state(sees_canary(false), &Canary::Auto, false), Full, "nobody ever saw it");
    assert_eq!(state(sees_canary(true), &Canary::Auto, true), Full);
    assert_eq!(state(sees_canary(false), &Canary::None, true), Full);
    let missing = gather(vec![group([sees_canary(false)])], &Canary::Auto, true, None).trust;
    assert_eq!(missing.failures().next().unwrap().1.reason, FailureReason::CanaryMissing);
    let answers = || [sees_canary(false), sees_canary(true)];
    assert_eq!(
        gather(vec![group(answers())], &Canary::Auto, true, None).trust.state,
        Full,
        "a replica has it"
    );
    // What such a member lists is not believed either: it may be long ago.
    let stuck = with(|answer| (answer.alerts, answer.canary) = (vec![alert("X")], Some(false)));
    assert_eq!(gather(vec![group([stuck])], &Canary::Auto, true, None).alerts, []);
}

#[test]
fn the_canary_counts_once_every_group_has_it() {
    let sees = |groups| gathered(groups).trust.sees_canary;
    assert!(sees(vec![group([sees_canary(true)])]));
    assert!(sees(vec![group([sees_canary(true), failed()])]));
    assert!(!sees(vec![group([sees_canary(true)]), group([sees_canary(false)])]));
    assert!(!sees(vec![]));
    let starting = with(|answer| {
        answer.canary = Some(true);
        answer.warming = Some(Warming { up_for: SignedDuration::ZERO, until: time(5) });
    });
    assert!(!sees(vec![group([starting])]), "only of one that is believed");
}

#[test]
fn row_43_warnings_make_an_answer_additive() {
    assert_eq!(one([warned()]), Partial);
    assert!(!gathered([group([warned()])]).trust.is_only_warming());
    assert_eq!(one([warned(), ok(&[])]), Full);
    let both = with(|answer| {
        answer.warnings = vec!["w".to_owned()];
        answer.warming = Some(Warming { up_for: SignedDuration::ZERO, until: time(5) });
    });
    assert!(!gathered([group([both])]).trust.is_only_warming());
}

#[test]
fn row_44_a_stub_without_the_canary_is_no_source() {
    let named = Canary::Named("DeadMansSwitch".to_owned());
    assert_eq!(gather(vec![group([sees_canary(false)])], &named, false, None).trust.state, Down);
    assert_eq!(gather(vec![group([ok(&[])])], &named, false, None).trust.state, Down, "it did not say");
    assert_eq!(gather(vec![group([sees_canary(true)])], &named, false, None).trust.state, Full);
}

#[test]
fn groups_hold_different_alerts_so_all_of_them_are_needed() {
    let [x, y] = ["X", "Y"].map(|name| [alert(name)]);
    let gathered = gathered([group([ok(&x)]), group([ok(&y)])]);
    assert_eq!((gathered.trust.state, gathered.alerts.len()), (Full, 2));
    assert_eq!(state_of([group([ok(&x)]), group([failed()])]), Partial);
    assert_eq!(state_of([group([warned()]), group([failed()])]), Partial);
    assert_eq!(state_of([group([failed()]), group([failed()])]), Down);
}

#[test]
fn replicas_differ_in_what_they_know_of_an_alert() {
    let say = |summary: &str, starts, updated: Option<i64>| Alert {
        annotations: [("summary", summary)].into(),
        starts_at: Some(time(starts)),
        updated_at: updated.map(time),
        ..alert("X")
    };
    let pending = Alert { pending: true, inhibited: true, ..say("c", 4, None) };
    let answers = [ok(&[say("new", 3, Some(9))]), ok(&[say("old", 2, Some(8))]), ok(&[pending])];
    let expected = Alert { inhibited: true, ..say("new", 2, Some(9)) };
    assert_eq!(gathered([group(answers)]).alerts, [expected]);
}

fn any_alert() -> impl Strategy<Value = Alert> {
    (
        any_of(&["X", "Y"][..]),
        prop::option::of(0..3i64),
        prop::option::of(0..3i64),
        any_of(&["", "a", "b"][..]),
        any::<(bool, bool, bool)>(),
    )
        .prop_map(|(name, starts, updated, summary, (silenced, inhibited, pending))| Alert {
            annotations: [("summary", summary)].into(),
            starts_at: starts.map(time),
            updated_at: updated.map(time),
            silenced,
            inhibited,
            pending,
            ..alert(name)
        })
}

fn any_answer() -> impl Strategy<Value = Vec<Alert>> {
    prop::collection::vec(any_alert(), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_members_and_alerts_never_matters(
        answers in prop::collection::vec(any_answer(), 1..4).prop_flat_map(|answers| {
            let shuffled = answers.clone();
            (Just(answers), Just(shuffled).prop_shuffle())
        })
    ) {
        let united = |answers: &[Vec<Alert>], reversed: bool| {
            let answers = answers.iter().map(|alerts| {
                let mut alerts = alerts.clone();
                if reversed {
                    alerts.reverse();
                }
                ok(&alerts)
            });
            let mut alerts = gathered([group(answers)]).alerts;
            alerts.sort_by(|a, b| a.labels.cmp(&b.labels));
            alerts
        };
        let once = united(&answers.0, false);
        prop_assert!(once.len() <= 2, "each alert once");
        prop_assert_eq!(&once, &united(&answers.1, true));
        let again: Vec<_> = answers.0.iter().chain(&answers.1).cloned().collect();
        prop_assert_eq!(&once, &united(&again, false), "hearing it twice adds nothing");
    }
}
