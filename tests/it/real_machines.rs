//! Nodes that are real: machines with a kubelet of their own, which really reboot (`tests/machines`). Nothing here is a double but the
//! power supply. `tests/all` runs these tests alone, in the network of the machines.
//!
//! What they have taught the double of a kubelet has scenarios that run on it: `remediate_proof` (what boots are, and are not),
//! `remediate_late` (orders that start late), `crash` (every change).

mod control_plane;
