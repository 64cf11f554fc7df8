//! What must never be: each absence the architecture promises, held by a test.

mod dependencies;
mod documents;
mod sources;
