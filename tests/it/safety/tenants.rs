//! What tenants and the accounts of deploy/ can do.

mod helpers;
mod medik8s;
mod volumes;
