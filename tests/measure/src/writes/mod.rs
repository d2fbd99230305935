//! The two write loads, agent connections and connection logs, on a real Postgres with default durability.

mod beats;
mod contest;
mod events;
mod heartbeats;
mod history;
mod logs;
pub mod options;
mod page;
mod report;
pub mod run;
mod steady;
mod way;
mod world;
