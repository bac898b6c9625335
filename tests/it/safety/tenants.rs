//! What tenants and the accounts of deploy/ can do.

mod discovery;
mod events;
mod helpers;
mod medik8s;
mod status;
mod volumes;
