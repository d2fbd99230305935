//! Listens to what Postgres tells the proxies.
//!
//! A superuser may read which channel each proxy listens on, and listen there too. So tests count and read the payloads
//! that Postgres delivers, without asking the proxy.

use std::collections::HashMap;

use anyhow::{Context, Result};
use tailnet_tools::cluster;
use tailnet_wire::{Assembler, Event};
use tokio::{sync::mpsc, time::timeout};
use tokio_postgres::{AsyncMessage, Client};
use uuid::Uuid;

use crate::{deadline::DEADLINE, stack::Stack};

/// Listens on the channels of all proxies.
#[derive(Debug)]
pub struct LogTap {
    client: Client,
    messages: mpsc::UnboundedReceiver<AsyncMessage>,
    /// The index of the proxy that has the channel.
    channels: HashMap<String, usize>,
    fence: String,
}

#[derive(Debug, Default)]
pub struct Heard {
    pub payloads: usize,
    pub events: Vec<Event>,
}

impl LogTap {
    /// Starts to listen on the channels of all proxies.
    pub async fn open(stack: &Stack) -> Result<Self> {
        // Postgres tells each proxy once, at some time after its start, that the tables are complete.
        stack.operator.until_settled().await?;
        let (client, messages) = cluster::connect_hearing(stack.database().superuser()).await?;
        let mut channels = HashMap::new();
        for (index, proxy) in stack.proxies().iter().enumerate() {
            let sql = "SELECT registration FROM tailnet_private.coordinators WHERE name = $1";
            let registration: Uuid = stack.operator.value(sql, &[&proxy.name()]).await?;
            channels.insert(format!("tailnet_{}", registration.simple()), index);
        }
        let fence = format!("tap_{}", Uuid::new_v4().simple());
        for channel in channels.keys().chain([&fence]) {
            client.batch_execute(&format!("LISTEN {channel}")).await?;
        }
        Ok(Self { client, messages, channels, fence })
    }

    /// What each proxy was told in transactions that were committed since the last call, in the order of
    /// [`Stack::proxies`]. It does not wait: a notification of its own comes after all those.
    pub async fn take(&mut self) -> Result<Vec<Heard>> {
        let mut heard: Vec<(Heard, Assembler)> = Vec::new();
        heard.resize_with(self.channels.len(), Default::default);
        self.client.batch_execute(&format!("NOTIFY {}", self.fence)).await?;
        loop {
            let message = timeout(DEADLINE, self.messages.recv()).await.context("the fence did not come back")?;
            let AsyncMessage::Notification(notification) = message.context("the connection of the tap is lost")? else {
                continue;
            };
            let Some(&index) = self.channels.get(notification.channel()) else { break };
            let (heard, assembler) = &mut heard[index];
            heard.payloads += 1;
            heard.events.extend(assembler.push(notification.payload())?.into_iter().flatten());
        }
        Ok(heard.into_iter().map(|(heard, _)| heard).collect())
    }
}
