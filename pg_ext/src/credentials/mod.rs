//! Credentials: what a caller must show before it is believed.

mod mac;
pub mod proof;
mod resume;
pub mod session_numbers;
