//! What tenants and the accounts of deploy/ can do.

mod helpers;
mod volumes;
