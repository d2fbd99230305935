//! Light peers keep accounts of what they are told; the oracle compares these with the tables.

pub mod account;
mod books;
pub mod differences;
pub mod light_peer;
pub mod oracle;
pub mod received;
pub mod truth;
pub mod watched;

pub use light_peer::LightPeer;
pub use oracle::Oracle;
