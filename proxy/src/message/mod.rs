//! What a peer and the proxy say to each other, in no wire format.
//!
//! A codec (see `peer`) makes these values out of bytes, and bytes out of these values.
//!
//! - [`ask`]: what a peer asks
//! - [`update`]: what a peer is told of another peer
//! - [`delivery`]: what it is told at once
//! - [`refused`]: why a request of a peer was not done
//! - [`ending`]: why the proxy ends a session

pub mod ask;
pub mod delivery;
pub mod ending;
pub mod refused;
pub mod update;

pub use ask::{Ask, Report, Wish};
pub use delivery::Delivery;
pub use ending::{Ending, Malformed, MalformedKind};
pub use refused::Refused;
pub use update::{Change, Update};
