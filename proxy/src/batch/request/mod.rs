//! What waits in the batchers, one file for each kind.
//!
//! - [`session`]: to the binder: open, announce, restore and end sessions
//! - [`tunnel`]: to the tunneler and the handshaker: open and close tunnels, carry ready-for-handshake
//! - [`query`]: to the querier: check tokens and dials, enrol machines, ask for DERP maps, for what agents are told, and for pages of views
//! - [`sighting`]: to the liveness worker: when agents were connected
//! - [`agent_state`]: to the describer: what agents tell of themselves
//! - [`report`]: to the reporter: what agents report of their connections
//! - [`proof`]: what proves the number of a session
//! - [`permit`]: what bounds the requests of one session

pub mod agent_state;
pub mod permit;
pub mod proof;
pub mod query;
pub mod report;
pub mod session;
pub mod sighting;
pub mod tunnel;

pub use agent_state::AgentState;
pub use permit::Permit;
pub use proof::Proof;
pub use query::{
    Admitted, AgentInfo, Authentication, Denial, Enrolled, Enrolment, EnrolmentDenial, QuerierRequest, Question,
    TokenHash,
};
pub use report::{ReportRequest, Room};
pub use session::{BinderRequest, Step};
pub use sighting::Sighting;
pub use tunnel::{HandshakerRequest, TunnelerRequest};
