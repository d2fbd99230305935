//! The order of the log: who may change the state, in which order changes take effect, and who is told.

pub mod fanout;
pub mod locks;
pub mod membership;
pub mod registration;
pub mod turn;
