//! Phase: what the update of an agent costs when a hub has tunnels to all agents.

use anyhow::Result;
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};

use crate::{
    common::{figure::Figure, progress::Progress},
    engines::{
        caller::{Caller, Cost, Series},
        crowd::Crowd,
        size::BATCH,
    },
};

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hub {
    /// Tunnels of the hub, one to each agent. Each agent has a client besides, on another coordinator.
    pub tunnels: usize,
    pub rounds: usize,
    /// For each place of the hub, and for each size of a call.
    pub cases: Vec<Case>,
}

/// Updates of agents with the hub, without it, and the one by the other.
#[derive(Debug, Serialize, Deserialize)]
pub struct Case {
    /// Where the hub is: `far`, the coordinator of the clients, which hears of each update with or without the hub; or
    /// `third`, which hears of them for the hub alone.
    pub hub: String,
    /// Updates in a call.
    pub batch: usize,
    /// With the hub.
    pub with: Cost,
    /// Without it.
    pub without: Cost,
    /// Of the time of an update, round by round.
    pub ratio: Figure,
    /// The same of the CPU of the backend.
    pub cpu_ratio: Figure,
}

pub async fn run(quick: bool, progress: &Progress) -> Result<Hub> {
    let (tunnels, rounds) = if quick { (2_000, 1) } else { (30_000, 3) };
    progress.phase(&format!("two databases with {tunnels} agents, one with a hub"));
    let (mut without, mut with) = (Crowd::create().await?, Crowd::create().await?);
    without.grow(tunnels).await?;
    with.grow(tunnels).await?;
    with.add_hub().await?;
    let (mut caller_without, mut caller_with) = (Caller::connect(&without).await?, Caller::connect(&with).await?);
    let mut cases = Vec::new();
    for hub in ["far", "third"] {
        with.move_hub(hub).await?;
        for (batch, calls) in [(BATCH, 12), (1, 150)] {
            let calls = if quick { calls / 3 } else { calls };
            let (mut hubless, mut hubbed) = (Series::default(), Series::default());
            for _ in 0..rounds {
                hubless.begin_round();
                hubbed.begin_round();
                for call in 0..calls {
                    let pairs = sample(&mut rand::rng(), tunnels, batch);
                    let agents =
                        with.agents(&pairs.into_iter().map(|pair| pair as i64 + 1).collect::<Vec<_>>()).await?;
                    for place in 0..2 {
                        if (place + call) % 2 == 0 {
                            hubless.call(&mut caller_without, &without, &agents).await?;
                        } else {
                            hubbed.call(&mut caller_with, &with, &agents).await?;
                        }
                    }
                }
            }
            let [ratio, cpu_ratio] = hubbed.against(&hubless);
            eprintln!(
                "    hub on the {hub} coordinator, {batch} a call: {} µs with it, × {}; CPU × {}",
                hubbed.cost().us.shown(1),
                ratio.shown(2),
                cpu_ratio.shown(2)
            );
            cases.push(Case {
                hub: hub.to_owned(),
                batch,
                with: hubbed.cost(),
                without: hubless.cost(),
                ratio,
                cpu_ratio,
            });
        }
    }
    without.end().await?;
    with.end().await?;
    Ok(Hub { tunnels, rounds, cases })
}
