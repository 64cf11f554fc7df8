//! Results as text and JSON. Width, color and unicode are parameters. Nothing is printed.

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
