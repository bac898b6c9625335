//! Lists of alerts, read while they arrive: only what is kept piles up. 10,000 alerts are 14 MB as JSON.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::core::alert::{Alert, Labels, TEXTS};
use crate::core::silence::Silence;

/// Of what is kept of one list: 20,000 alerts of 20 labels are 420,000. An answer could be larger here than it was on its way:
/// two empty strings are six bytes there, and 64 here.
const HEAVIEST: usize = 1_000_000;

/// What it takes to keep something, in labels and annotations.
pub(super) trait Weigh {
    fn weight(&self) -> usize {
        1
    }
}

impl Weigh for Alert {
    fn weight(&self) -> usize {
        1 + self.labels.len() + self.annotations.len()
    }
}

impl<T: Weigh, E> Weigh for Result<T, E> {
    fn weight(&self) -> usize {
        self.as_ref().map_or(1, Weigh::weight)
    }
}

impl Weigh for String {}
impl Weigh for Value {}
impl Weigh for Box<RawValue> {}
impl Weigh for Silence {}

/// How much may still be kept of an answer.
#[derive(Clone, Copy)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(HEAVIEST)
    }
}

impl Room {
    pub(super) fn take<E: Error>(&mut self, weight: usize) -> Result<(), E> {
        let left = self.0.checked_sub(weight);
        self.0 = left.ok_or_else(|| E::custom(format!("there is more than {HEAVIEST} labels in it")))?;
        Ok(())
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

    /// One list of several in an answer.
    pub(super) fn within(room: Room, keep: F) -> Self {
        Self { keep, room, types: PhantomData }
    }
}

impl<R, T, F: Clone> Clone for Each<R, T, F> {
    fn clone(&self) -> Self {
        Self { keep: self.keep.clone(), room: self.room, types: PhantomData }
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
            self.room.take(one.weight())?;
            kept.push(one);
        }
        Ok(kept)
    }
}

/// Annotations may be long, and only one text is shown; an expression may want them all.
pub(super) fn annotations(all: Labels, keep_all: bool) -> Labels {
    if keep_all {
        return all;
    }
    let text =
        TEXTS.iter().find_map(|name| Some((*name, all.get(name).filter(|text| !text.trim().is_empty())?)));
    text.into_iter().collect()
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
}
