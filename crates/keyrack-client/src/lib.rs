//! keyrack-client
