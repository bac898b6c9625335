//! Certificates, servers and signals.

mod hangups;
