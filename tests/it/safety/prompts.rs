//! What a person types, and when.
