//! Runs that go on, and the lines that say how.
