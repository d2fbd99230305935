//! The span that a caller names when it connects.

use uuid::Uuid;

/// The span of a caller.
#[derive(Debug)]
pub struct Caller {
    pub trace_id: String,
    pub span_id: String,
}

impl Caller {
    pub fn new() -> Self {
        let id = || Uuid::new_v4().simple().to_string();
        Self { trace_id: id(), span_id: id()[..16].to_owned() }
    }

    pub fn sampled(&self) -> Option<String> {
        Some(format!("00-{}-{}-01", self.trace_id, self.span_id))
    }

    pub fn unsampled(&self) -> Option<String> {
        Some(format!("00-{}-{}-00", self.trace_id, self.span_id))
    }
}
