//! Turning what came of a call into text and JSON. Width, colour and unicode are parameters; nothing is printed.

pub mod text;
