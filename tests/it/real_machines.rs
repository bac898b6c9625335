//! Nodes that are real: machines with a kubelet of their own, which really reboot (`tests/machines`). Nothing here is a double but the
//! power supply. `tests/all` runs these tests alone, in the network of the machines.

mod control_plane;
