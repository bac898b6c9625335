//! Labels or annotations of an alert, in little memory: a list of 10,000 alerts is mostly these.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

type Pair = (Box<str>, Box<str>);

/// No alert has so many; a source may send anything.
const MOST: usize = 1_000;

/// How an error begins that says so of an answer, which is then no other kind of answer than was expected.
pub const TOO_LARGE: &str = "the answer is too large: ";

/// Names and values, sorted by name. Maps of strings took half as much again.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Box<[Pair]>);

impl Labels {
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[place].1)
    }

    /// By name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Of a name that appears twice, the last value counts, as in JSON.
    fn new(mut pairs: Vec<Pair>) -> Self {
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.dedup_by(|later, earlier| {
            let is_same = later.0 == earlier.0;
            if is_same {
                std::mem::swap(&mut later.1, &mut earlier.1);
            }
            is_same
        });
        Self(pairs.into())
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::new(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>, const COUNT: usize> From<[(N, V); COUNT]> for Labels {
    fn from(pairs: [(N, V); COUNT]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<Box<str>, Option<Box<str>>>()? {
                    if pairs.len() == MOST {
                        return Err(A::Error::custom(format!(
                            "{TOO_LARGE}an alert in it has more than {MOST} labels or annotations, which is the limit"
                        )));
                    }
                    pairs.extend(value.map(|value| (name, value)));
                }
                Ok(Labels::new(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
impl Labels {
    pub(crate) fn insert(&mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) {
        let mut pairs = std::mem::take(&mut self.0).into_vec();
        pairs.push((name.into(), value.into()));
        *self = Self::new(pairs);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        *self = std::mem::take(&mut self.0).into_iter().filter(|(known, _)| **known != *name).collect();
    }
}
