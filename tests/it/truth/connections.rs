//! Certificates, servers and signals.
