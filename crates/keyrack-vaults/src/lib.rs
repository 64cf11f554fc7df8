//! keyrack-vaults
