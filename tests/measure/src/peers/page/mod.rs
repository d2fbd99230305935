//! The figures for people.

mod database;
pub mod files;
mod peers;
mod protocols;
pub mod terminal;
