//! What each kind of worker does with a batch.
//!
//! - [`binder`]: opens, announces, restores and ends sessions
//! - [`tunneler`]: opens and closes tunnels
//! - [`handshaker`]: carries ready-for-handshake
//! - [`querier`]: checks tokens, asks for pages of views
//! - [`liveness`]: writes when agents were connected
//! - [`describer`]: writes what agents tell of themselves
//! - [`reporter`]: writes what agents report of their connections

pub mod binder;
pub mod describer;
pub mod handshaker;
pub mod liveness;
pub mod querier;
pub mod reporter;
pub mod tunneler;

pub use binder::Binder;
pub use describer::Describer;
pub use handshaker::Handshaker;
pub use liveness::Liveness;
pub use querier::Querier;
pub use reporter::Reporter;
pub use tunneler::Tunneler;
