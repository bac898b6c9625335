//! Which conditions a round sets, holds and clears.
