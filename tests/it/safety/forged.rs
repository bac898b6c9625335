//! A kubelet that lies about its own Node, and what it reaches.
