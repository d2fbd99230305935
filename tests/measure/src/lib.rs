//! What benchmarks share: figures with their spread, latencies, the circumstances, and the Markdown section that they write.

pub mod figure;
pub mod machine;
pub mod meter;
pub mod progress;
pub mod section;
pub mod server;
