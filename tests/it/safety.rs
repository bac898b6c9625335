//! What could take the wrong machine down, ask nobody, or leave a run that cannot go on. Each test carries the row that it came from.

mod addresses;
mod drain;
mod forged;
mod identity;
mod locks;
mod prompts;
mod resume;
mod tenants;
