//! What the proxy knows, and what each of its peers is still to be told.
//!
//! - [`switchboard`]: where sessions, the log and the workers meet
//! - [`fold`]: the fold over the log: the order of the log becomes updates to peers
//! - [`local`]: one peer of this proxy; [`partners`]: the peers with whom it shares tunnels; [`wishes`]: the tunnels that it
//!   asked for
//! - [`told`]: what one peer knows of another; [`outbox`]: what one peer is still to be told
//! - `copy`: copies of a fold, for a model checker
//! - [`derp_maps`]: the DERP maps of networks
//! - [`readiness`]: whether new sessions are taken

mod copy;
pub mod derp_maps;
pub mod fold;
pub mod local;
pub mod outbox;
pub mod partners;
pub mod readiness;
pub mod switchboard;
pub mod told;
pub mod wishes;
