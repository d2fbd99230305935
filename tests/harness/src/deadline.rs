//! Waiting for conditions.

use std::time::Duration;

use anyhow::{Result, bail};

/// Everything here takes far less time on an idle machine: only a test that fails waits so long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The pause between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(10);

/// Looks again and again until the condition holds.
pub async fn until(what: &str, condition: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let looking = async {
        while !condition().await? {
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    };
    match tokio::time::timeout(DEADLINE, looking).await {
        Ok(done) => done,
        Err(_) => bail!("after {DEADLINE:?} it still does not hold that {what}"),
    }
}
