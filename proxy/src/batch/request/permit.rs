//! What bounds the requests of one session.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

/// A request holds it for as long as it waits. A session that asks faster than Postgres answers runs out of permits, and
/// is not read meanwhile.
pub type Permit = Arc<OwnedSemaphorePermit>;
