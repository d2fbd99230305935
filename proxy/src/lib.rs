//! The sidecar of pg_tailnet: carries websocket peers onto one LISTEN channel.
//!
//! A proxy calls the extension's functions and folds the one log that the extension writes for it; it reads no table.
//! Arrows go one way: `run → server → session → hub → {fold, batcher} → wire` on the side of the peers,
//! `run → {coordinator, worker} → {hub, store}` on the side of Postgres.
//!
//! Peers:
//! - [`server`]: the HTTP listeners; [`auth`]: the token; [`upgrade`]: the websocket handshake
//! - [`session`]: one websocket, one task; [`frame`]: what goes over it; [`close`]: why it ends
//!
//! State:
//! - [`hub`]: where sessions, the log and the roles meet; [`readiness`]: whether new sessions are taken
//! - [`fold`]: the fold over the log; [`local`]: one peer of it; [`partners`]: whom it shares tunnels with; [`wishes`]:
//!   the tunnels it asked for
//! - [`told`]: what one peer was told of another; [`outbox`]: what it is still to be told
//! - [`id`]: which session of which peer
//!
//! Postgres:
//! - [`coordinator`]: registration, heartbeat, and the answer to any doubt; [`listener`]: the LISTEN connection;
//!   [`restoring`]: whether all sessions are restored; [`shedder`]: what is done when Postgres stays away
//! - [`batcher`]: natural batching; [`request`]: what is batched; [`bisect`]: finds the bad entry of a batch
//! - [`worker`]: the loop of all roles; [`binder`], [`tunneler`], [`handshaker`], [`querier`], [`heartbeater`],
//!   [`reporter`]: the roles
//! - [`store`]: the SQL functions, named nowhere else; [`database`]: how connections are made; [`authorities`]: who vouches
//!   for their other end
//!
//! Process: [`config`], [`run`], [`metrics`], [`traces`] (of connections, each a [`trace`]), [`backoff`], [`chain`].

pub mod auth;
pub mod authorities;
pub mod backoff;
pub mod batcher;
pub mod binder;
pub mod bisect;
pub mod chain;
pub mod close;
pub mod config;
pub mod coordinator;
pub mod database;
pub mod fold;
pub mod frame;
pub mod handshaker;
pub mod heartbeater;
pub mod hub;
pub mod id;
pub mod listener;
pub mod local;
pub mod metrics;
pub mod outbox;
pub mod partners;
pub mod querier;
pub mod readiness;
pub mod reporter;
pub mod request;
pub mod restoring;
pub mod run;
pub mod server;
pub mod session;
pub mod shedder;
pub mod store;
pub mod told;
pub mod trace;
pub mod traces;
pub mod tunneler;
pub mod upgrade;
pub mod wishes;
pub mod worker;
