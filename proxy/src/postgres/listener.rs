//! The LISTEN connection: the only thing that a proxy reads.
//!
//! No calls run on it. Postgres delivers nothing to a connection that is in a transaction, so a call that waits for a lock
//! would hold up the log.

use std::future::poll_fn;

use tailnet_wire::Chain;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_postgres::{AsyncMessage, Client};
use uuid::Uuid;

use crate::postgres::{database::Database, store::Store, store_error::StoreError};

/// The most payloads that wait to be folded. Postgres keeps the rest.
const BACKLOG: usize = 4096;

/// The log of one registration.
#[derive(Debug)]
pub struct Listener {
    /// The payloads in order; closed when the connection ends.
    pub payloads: mpsc::Receiver<String>,
    /// Asks the connection itself.
    pub probe: Probe,
    driver: JoinHandle<()>,
}

/// Asks whether the connection lives.
#[derive(Debug)]
pub struct Probe {
    client: Client,
}

impl Listener {
    /// Listens to the log of a registration.
    ///
    /// # Errors
    /// When no connection can be made, or the registration is not current.
    pub async fn listen(database: &Database, registration: Uuid) -> Result<Self, StoreError> {
        let (client, mut connection) = database.connect("listener").await.map_err(StoreError::Connect)?;
        let (sender, payloads) = mpsc::channel(BACKLOG);
        let driver = tokio::spawn(async move {
            loop {
                match poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(AsyncMessage::Notification(notification))) => {
                        if sender.send(notification.payload().to_owned()).await.is_err() {
                            return;
                        }
                    }
                    Some(Ok(AsyncMessage::Notice(notice))) => tracing::debug!(%notice, "Postgres says"),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::warn!(error = %Chain(&error), "LISTEN connection ended");
                        return;
                    }
                    None => return,
                }
            }
        });
        let listener = Self { payloads, probe: Probe { client }, driver };
        Store::listen_coordinator(&listener.probe.client, registration).await?;
        Ok(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Probe {
    /// Returns when the connection has answered. All that was committed before the question has been delivered then.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn ask(&self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("").await
    }
}
