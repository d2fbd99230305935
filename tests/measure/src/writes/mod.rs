//! The two write loads, agent connections and connection logs, on a real Postgres with default durability.

mod contest;
mod events;
mod history;
mod liveness;
mod logs;
pub mod options;
mod page;
mod report;
pub mod run;
mod sightings;
mod steady;
mod way;
mod world;
