//! What the extension costs at the database, against the prior design and against itself.

mod caller;
mod crowd;
mod engine;
mod extension;
pub mod fan_out;
mod gauge;
pub mod hub;
mod load;
pub mod measured;
pub mod options;
mod pairs;
mod prior_sql;
mod replica;
mod replicas;
pub mod report;
mod rounds;
pub mod run;
pub mod size;
