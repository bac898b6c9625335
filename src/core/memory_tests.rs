#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn now() -> Timestamp {
    "2020-03-18T13:17:58Z".parse().unwrap()
}

fn full() -> Memory {
    Memory {
        last_full: Some(now()),
        full_rounds: 7,
        held: Some(Held { since: now(), rounds: 1 }),
        wanted: [ConditionId(1), ConditionId(u32::MAX)].into(),
        canary: Some("Watchdog".to_owned()),
        clusters: Clusters::own("cluster", "a"),
        source_state: Some(SourceState::Partial),
        last_by: Some("cron@ops1".to_owned()),
        interval: Some(SignedDuration::from_mins(1)),
        prefix: Some(Prefix::default()),
        heartbeat_interval: Some(SignedDuration::ZERO),
    }
}

#[test]
fn what_is_written_is_read() {
    for memory in [full(), Memory::default()] {
        assert_eq!(Memory::read(&memory.annotations()), memory);
    }
    let annotations = full().annotations();
    assert_eq!(annotations["sciuro.dev/last-full"], "2020-03-18T13:17:58Z");
    assert_eq!(annotations["sciuro.dev/source-state"], "PARTIAL");
    assert_eq!(annotations["sciuro.dev/interval"], "60s");
    assert_eq!(annotations["sciuro.dev/clear-wanted"], "00000001 ffffffff");
}

#[test]
fn what_is_not_known_takes_away_what_was() {
    let mut annotations = full().annotations();
    annotations.extend(Memory::default().annotations());
    assert_eq!(Memory::read(&annotations), Memory::default());
}

#[test]
fn what_cannot_be_read_is_absent() {
    let hostile = |text: &str| full().annotations().into_keys().map(|name| (name, text.to_owned())).collect();
    for text in ["", "  ", "yesterday", "-1", "-1s", "99999999999999999999", "\u{202e}x"] {
        let memory = Memory::read(&hostile(text));
        let texts = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let prefix = text.parse().ok();
        let expected = Memory { last_by: texts.clone(), canary: texts, prefix, ..Memory::default() };
        assert_eq!(memory, expected, "{text:?}");
    }
    let many = (0..100_000).map(|id| format!("{id:08x}")).collect::<Vec<_>>().join(" ");
    assert_eq!(Memory::read(&hostile(&many)).wanted.len(), MAX_WANTED);
}

#[test]
fn a_broken_clock_and_another_prefix_are_not_believed() {
    let later = now() + SignedDuration::from_mins(6);
    let memory = Memory { last_full: Some(later), held: Some(Held { since: later, rounds: 9 }), ..full() };
    let usable = memory.for_round(&Prefix::default(), now());
    assert_eq!((usable.last_full, usable.held), (None, None));
    assert_eq!(full().for_round(&Prefix::default(), now()), full());
    let other = full().for_round(&"Other_".parse().unwrap(), now());
    let Memory { canary, clusters, .. } = full();
    assert_eq!(other, Memory { canary, clusters, ..Memory::default() });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_anything_gives_what_can_be_written(texts in prop::collection::vec(".{0,20}", 13)) {
        let names = full().annotations().into_keys();
        let memory = Memory::read(&names.zip(texts).collect());
        let memory = Memory::read(&memory.annotations()); // whole seconds
        prop_assert_eq!(Memory::read(&memory.annotations()), memory);
    }
}
