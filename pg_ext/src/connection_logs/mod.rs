//! The log of connections to agents.

mod entry;
mod literal;
mod table;
