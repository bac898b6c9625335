//! What is `null` in an answer is not there: Go writes it for an empty list or map, proxies and relatives for more.

use serde::{Deserialize, Deserializer};

/// For a field of a struct; beside `default`, it may be missing, too.
pub fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
