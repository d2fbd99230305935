//! What the extension, the proxy and the tools share, defined once.
//!
//! The extension writes a *log*: for each coordinator a totally ordered stream of [`Event`]s, sent over NOTIFY. The
//! proxy is a deterministic fold over it. All sides use these types, so that none keeps a copy of the schema.
//!
//! Peers:
//! - [`role`]: what a peer may be; [`session`]: which websocket of which peer
//! - [`node`]: what a peer announces about itself, as text; [`fields`]: its known fields, their rules and the digest
//! - [`derp_map`]: the relays of a network
//! - [`connection_event`]: what is reported of the connections to an agent
//!
//! The log:
//! - [`event`]: what a coordinator is told; [`refusal`]: why a request of a peer was not done
//! - [`payload`]: events cut into NOTIFY payloads, and put together again
//! - [`limits`]: the times, sizes and versions on which both sides rely
//!
//! Helpers: [`object`] (a struct that is read from a JSON object only), [`chain`] (an error with its causes).

pub mod chain;
pub mod connection_event;
pub mod derp_map;
pub mod event;
pub mod fields;
pub mod limits;
pub mod node;
pub mod object;
pub mod payload;
pub mod refusal;
pub mod role;
pub mod session;

pub use chain::Chain;
pub use connection_event::{ConnectionEvent, ConnectionEventError, ConnectionType};
pub use derp_map::{DerpMap, DerpMapError};
pub use event::{Binding, Ending, Event, Partner, TunnelEnd};
pub use fields::{Digest, NodeError, NodeFields};
pub use node::Node;
pub use object::Object;
pub use payload::{Assembler, PayloadError};
pub use refusal::Refusal;
pub use role::Role;
pub use session::SessionId;
