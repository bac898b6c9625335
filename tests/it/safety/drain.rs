//! Drains that wait for what cannot come, or fail for what passes.
