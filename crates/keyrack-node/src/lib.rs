//! keyrack-node
