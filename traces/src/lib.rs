//! Distributed traces of pg_tailnet's programs.
//!
//! - [`parent`]: the `traceparent` and `tracestate` headers of W3C Trace Context
//! - [`endpoint`]: where a collector is
//! - [`export`]: sends spans to it, over OTLP (HTTP with protobuf); [`client`]: the HTTP client of the export
//! - [`counts`]: what became of the spans
//!
//! Spans are those of the OpenTelemetry SDK. Nothing here is global: the code that makes spans holds the tracer.

pub mod client;
pub mod counts;
pub mod endpoint;
pub mod export;
pub mod parent;

pub use counts::Counts;
pub use endpoint::Endpoint;
pub use export::{Export, ExportError, Service, Settings};
