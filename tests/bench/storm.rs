//! All peers connect at once.

use anyhow::Result;

use crate::{cpu::Cpu, fleet::Connected, statements::Count, world::World};

/// What a storm took.
#[derive(Debug)]
pub struct Storm {
    /// From the beginning until every view was right.
    pub seconds: f64,
    /// What both proxies ran until then.
    pub statements: Count,
    /// Until then.
    pub cpu: Cpu,
    /// As the load processes saw it.
    pub connected: Connected,
}

/// Lets it fall on a world.
///
/// # Errors
/// When not every view becomes right.
pub async fn run(world: &mut World) -> Result<Storm> {
    let (cpu, statements) = (world.cpu()?, world.statements().await?);
    let connected = world.fleet.connect(|_, _| ()).await?;
    let cpu = world.cpu()?.since(&cpu);
    let statements = world.statements_since(&statements).await?;
    let seconds = connected.right.since(connected.begin).as_secs_f64();
    Ok(Storm { seconds, statements, cpu, connected })
}
