//! Lists of alerts, read while they arrive: only what is kept piles up. 10,000 alerts are 14 MB as JSON.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use crate::core::alert::{Labels, TEXTS};

/// Each element `R` of a list as a `T`, or left out. `null` is an empty list, as Go writes it.
pub(super) struct Each<R, T, F> {
    keep: F,
    types: PhantomData<fn(R) -> T>,
}

impl<R, T, F: FnMut(R) -> Option<T>> Each<R, T, F> {
    pub(super) fn new(keep: F) -> Self {
        Self { keep, types: PhantomData }
    }
}

impl<R, T, F: Clone> Clone for Each<R, T, F> {
    fn clone(&self) -> Self {
        Self { keep: self.keep.clone(), types: PhantomData }
    }
}

impl<'de, R: Deserialize<'de>, T, F: FnMut(R) -> Option<T>> DeserializeSeed<'de> for Each<R, T, F> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Deserialize<'de>, T, F: FnMut(R) -> Option<T>> Visitor<'de> for Each<R, T, F> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut kept = Vec::new();
        while let Some(raw) = list.next_element()? {
            kept.extend((self.keep)(raw));
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
