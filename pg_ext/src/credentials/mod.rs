//! Credentials: what a caller must show before it is believed.

pub mod proof;
pub mod session_numbers;
