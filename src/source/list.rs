//! Lists of alerts, read while they arrive: only what is kept piles up. 10,000 alerts are 14 MB as JSON.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::core::alert::{Alert, Labels, TEXTS};
use crate::core::labels::TOO_LARGE;
use crate::core::silence::Silence;

/// Bytes that are kept of all sources of a round: 40,000 alerts of 20 labels. An answer could be larger here than it was on its
/// way: two empty strings are six bytes there, and 64 here.
const MOST_KEPT: usize = 96 << 20;
/// Bytes of an annotation: as many as --max-message may ask for.
const LONGEST_TEXT: usize = 4 * 32_768;

/// The bytes that it takes to keep something, about, beyond its own in the list.
pub(super) trait Weigh {
    fn weight(&self) -> usize {
        256
    }
}

impl Weigh for Alert {
    fn weight(&self) -> usize {
        // Two allocations of their own.
        let pair = |(name, value): (&str, &str)| 64 + name.len() + value.len();
        self.labels.iter().chain(self.annotations.iter()).map(pair).sum::<usize>()
    }
}

impl<T: Weigh> Weigh for Result<T, String> {
    fn weight(&self) -> usize {
        self.as_ref().map_or_else(Weigh::weight, Weigh::weight)
    }
}

impl Weigh for String {
    fn weight(&self) -> usize {
        16 + self.len()
    }
}

impl Weigh for Box<RawValue> {
    fn weight(&self) -> usize {
        16 + self.get().len()
    }
}

impl Weigh for Value {}
impl Weigh for Silence {}

/// How much may still be kept, of this answer and of others in the same round.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<Taken>);

#[derive(Default)]
struct Taken {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

impl Room {
    pub(super) fn take<E: Error>(&self, weight: usize) -> Result<(), E> {
        let count = self.0.count.fetch_add(1, Ordering::Relaxed);
        if self.0.bytes.fetch_add(weight, Ordering::Relaxed) + weight <= MOST_KEPT {
            return Ok(());
        }
        let most = MOST_KEPT >> 20;
        Err(E::custom(format!(
            "{TOO_LARGE}with {count} alerts, what is read of all sources takes more than {most} MiB, which is the limit"
        )))
    }
}

/// Each element `R` of a list as a `T`, or left out. `null` is an empty list, as Go writes it, and no element.
pub(super) struct Each<R, T, F> {
    keep: F,
    room: Room,
    types: PhantomData<fn(R) -> T>,
}

impl<R, T, F: FnMut(R) -> Option<T>> Each<R, T, F> {
    pub(super) fn new(keep: F) -> Self {
        Self::within(Room::default(), keep)
    }

    /// One list of several.
    pub(super) fn within(room: Room, keep: F) -> Self {
        Self { keep, room, types: PhantomData }
    }
}

impl<R, T, F: Clone> Clone for Each<R, T, F> {
    fn clone(&self) -> Self {
        Self { keep: self.keep.clone(), room: self.room.clone(), types: PhantomData }
    }
}

impl<'de, R: Deserialize<'de>, T: Weigh, F: FnMut(R) -> Option<T>> DeserializeSeed<'de> for Each<R, T, F> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Deserialize<'de>, T: Weigh, F: FnMut(R) -> Option<T>> Visitor<'de> for Each<R, T, F> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut kept = Vec::new();
        while let Some(raw) = list.next_element::<Option<R>>()? {
            let Some(one) = raw.and_then(&mut self.keep) else { continue };
            self.room.take(size_of::<T>() + one.weight())?;
            kept.push(one);
        }
        Ok(kept)
    }
}

/// Annotations may be long, and only the beginning of one text is shown; an expression may want them all.
pub(super) fn annotations(all: Labels, keep_all: bool) -> Labels {
    if keep_all {
        return all;
    }
    let text =
        TEXTS.iter().find_map(|name| Some((*name, all.get(name).filter(|text| !text.trim().is_empty())?)));
    let begin = |text: &str| {
        let text = text.trim_start();
        let ends = (0..=text.len().min(LONGEST_TEXT)).rev();
        text[..ends.into_iter().find(|end| text.is_char_boundary(*end)).unwrap_or_default()].to_owned()
    };
    text.into_iter().map(|(name, text)| (name, begin(text))).collect()
}

/// One element, if it is what it should be. No alert or silence is as long as what is left out here.
pub(super) fn read<T: DeserializeOwned>(text: &RawValue) -> Option<T> {
    const LONGEST: usize = 256 << 10;
    (text.get().len() <= LONGEST).then(|| serde_json::from_str(text.get()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn labels_are_sorted_and_of_each_name_the_last_value() {
        let given = [("b", "1"), ("a", "2"), ("b", "3"), ("", "4"), ("b", "5")];
        let read = serde_json::from_str::<Labels>;
        let labels = read(r#"{"b": "1", "a": "2", "b": "3", "": "4", "b": "5", "d": null}"#).unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("", "4"), ("a", "2"), ("b", "5")]);
        assert_eq!(labels, given.into());
        assert_eq!((labels.get("b"), labels.get("c"), labels.len()), (Some("5"), None, 3));
        assert!(read(r#"{"a": 1}"#).is_err());
    }

    #[test]
    fn t15_d12_of_a_text_the_beginning_is_kept() {
        let long = format!("  \n{}é{}", "x".repeat(LONGEST_TEXT - 1), "y".repeat(99));
        let all = Labels::from([("summary", " "), ("message", &long), ("runbook", "z")]);
        let kept = annotations(all.clone(), false);
        assert_eq!(kept.iter().collect::<Vec<_>>(), [("message", &*"x".repeat(LONGEST_TEXT - 1))]);
        assert_eq!(annotations(all.clone(), true), all);
    }

    #[test]
    fn t15_d12_all_lists_of_a_round_have_one_limit() {
        let room = Room::default();
        let other = room.clone();
        let take = |room: &Room| room.take::<serde_json::Error>(MOST_KEPT / 2);
        assert!(take(&room).is_ok() && take(&other).is_ok());
        let full = room.take::<serde_json::Error>(1).unwrap_err().to_string();
        assert!(full.starts_with("the answer is too large: with 2 alerts"), "{full}");
        assert!(take(&Room::default()).is_ok());
    }
}
