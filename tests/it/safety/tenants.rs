//! What tenants and the accounts of deploy/ can do.

mod volumes;
