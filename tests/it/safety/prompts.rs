//! What a person types, and when; what is asked, and of how many nodes.

mod consent;
mod property;
mod several;
mod typing;
