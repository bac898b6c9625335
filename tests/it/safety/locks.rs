//! Answers that are final, and Leases that are released whatever happens.
