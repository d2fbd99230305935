//! All figures of a run.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tailnet_tools::cluster;

use crate::{
    common::{machine::Machine, meter::Meter},
    engines::{fan_out::FanOut, hub::Hub, size::Size},
};

/// What is printed as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    /// Whether each part had a few seconds only.
    pub quick: bool,
    /// The extension against the prior design; null: was not asked for.
    pub fan_out: Option<FanOut>,
    /// An update among few peers and among many.
    pub size: Option<Size>,
    /// An update with and without a hub.
    pub hub: Option<Hub>,
}

impl Report {
    pub async fn begin(quick: bool) -> Result<Self> {
        let meter = Meter { sql: cluster::connect(&cluster::superuser()?).await? };
        Ok(Self { machine: Machine::look(&meter).await?, quick, fan_out: None, size: None, hub: None })
    }
}
