//! The whole: 32,000 peers on two real proxies and a Postgres with its default settings.

mod campaign;
mod clock;
mod contact;
mod control;
mod cpu;
mod crash;
mod database;
mod fleet;
mod hub;
mod idle;
mod listener;
pub mod load;
pub mod options;
mod page;
mod plot;
mod protocols;
mod report;
mod resident;
mod row;
pub mod run;
mod storm;
mod target;
mod updates;
mod websocket;
mod world;
