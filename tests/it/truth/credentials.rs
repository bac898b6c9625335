//! Files and plugins that hold secrets.
