//! Certificates, servers and signals.

mod certificates;
mod hangups;
mod rotation;
