//! Addresses, boot IDs and names that a Node says of itself.
