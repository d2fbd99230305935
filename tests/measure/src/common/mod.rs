//! What the benchmarks share.

pub mod figure;
pub mod json;
pub mod machine;
pub mod meter;
pub mod network;
pub mod node;
pub mod process;
pub mod progress;
pub mod section;
pub mod server;
pub mod statements;
pub mod table;
pub mod timer;
