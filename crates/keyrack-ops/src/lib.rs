//! keyrack-ops
