//! The figures for people.

mod database;
pub mod files;
mod peers;
pub mod terminal;
