//! What the extension and the proxy say to each other, defined once.
//!
//! The extension writes a *log*: for each coordinator a totally ordered stream of [`Event`]s, sent over NOTIFY. The
//! proxy is a deterministic fold over it. Both ends use these types, so that neither keeps a copy of the schema.
//!
//! - [`role`]: what a peer may be
//! - [`node`]: the JSON object that a peer announces, the rules it must keep, and its digest
//! - [`event`]: what a coordinator is told
//! - [`payload`]: events cut into NOTIFY payloads, and put together again

pub mod event;
pub mod node;
pub mod payload;
pub mod role;

pub use event::{Binding, Ending, Event, Far, Partner};
pub use node::{Digest, Node, NodeError};
pub use payload::{Assembler, PayloadError};
pub use role::Role;
