//! Rules of the architecture: each is held by a test.

mod benchmarks;
mod cycles;
mod dependencies;
mod documents;
mod modules;
mod prose;
mod sources;
mod type_names;
