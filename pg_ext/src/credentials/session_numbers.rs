//! The sequence of session numbers stays ahead of all numbers that were given out.

use tailnet_wire::SessionId;

use crate::{error::Error, pg::statement::run};

/// Other calls may take numbers between the two steps of this statement, but not as many as it leaves out.
const KEEP_AHEAD: &str = "
    SELECT pg_catalog.setval('tailnet_private.sessions', $1 + 100000) FROM tailnet_private.sessions s WHERE s.last_value < $1";

/// A failover to a standby that was behind, or a restored backup, makes the sequence forget numbers that proxies hold. New
/// sessions would have lower numbers than old ones, and count as older. So a proved number moves the sequence on.
pub fn keep_ahead<'a>(proved: impl Iterator<Item = &'a SessionId>) -> Result<(), Error> {
    let Some(highest) = proved.map(|session| session.number).max() else { return Ok(()) };
    run(KEEP_AHEAD, &[highest.into()]).map(drop)
}
