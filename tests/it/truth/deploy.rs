//! Manifests, used as delivered by their own accounts.
