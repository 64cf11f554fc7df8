//! Turning what came of a call into text and JSON. Width, colour and unicode are parameters; nothing is printed.

pub mod attempt;
pub mod error;
pub mod json;
pub mod status;
pub mod style;
#[cfg(test)]
mod tests;
pub mod text;
pub mod tree;
pub mod ttl;

pub use style::{Role, Style};
