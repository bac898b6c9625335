//! Output that is data.
