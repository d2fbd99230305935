//! The times, sizes and versions on which the extension and the proxy rely together: a change of one side alone would break the
//! other in silence.

use std::time::Duration;

/// The version of what proxy and extension say to each other: functions, events and their fields. A change that an older
/// proxy would not survive raises it. Events, endings and roles that a proxy does not know need no new version: it ignores
/// them.
pub const PROTOCOL: i32 = 1;

/// The extension takes proxies from this version on: that of the release before, so that the extension can be replaced first.
pub const OLDEST_PROTOCOL: i32 = 1;

/// How long a resume token is good. A peer that stays connected for longer is a new one when it comes back.
pub const RESUME_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often a coordinator sends its heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// A heartbeat that comes later than this after the one before is late. A coordinator that was late may itself have been
/// stalled, so it must not judge the silence of others.
pub const LATE: Duration = Duration::from_secs(3);

/// A coordinator without a heartbeat for so long, three of them, is expired.
pub const EXPIRY: Duration = Duration::from_secs(6);

/// The most entries of a call, and the longest array that the extension takes. A call holds the locks of its networks
/// until it ends, so its work is bounded.
pub const MAX_BATCH: usize = 4_096;
