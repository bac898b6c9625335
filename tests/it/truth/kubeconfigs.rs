//! The same files through kubectl and through us.
