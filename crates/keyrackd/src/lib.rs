//! keyrackd
