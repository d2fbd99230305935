//! Connections to Postgres.

use std::{env, net::SocketAddr};

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, config::Host};

const URL: &str = "TAILNET_TEST_DATABASE_URL";

/// How to reach the cluster as its superuser.
///
/// # Errors
/// When the environment does not say so.
pub fn superuser() -> Result<Config> {
    let url = env::var(URL).with_context(|| {
        format!("{URL} must be the superuser's URL of a private Postgres with pg_tailnet: 'make test' starts one")
    })?;
    url.parse().with_context(|| format!("{URL} is no URL of a Postgres"))
}

/// Where a Postgres listens.
///
/// # Errors
/// When its URL has no TCP address.
pub fn address(config: &Config) -> Result<SocketAddr> {
    let (Some(Host::Tcp(host)), Some(port)) = (config.get_hosts().first(), config.get_ports().first()) else {
        bail!("the URL of the cluster has no TCP host and port");
    };
    Ok(SocketAddr::new(host.parse().with_context(|| format!("{host} is no address"))?, *port))
}

/// Opens a connection that lives as long as the client.
///
/// # Errors
/// When Postgres cannot be reached or refuses.
pub async fn connect(config: &Config) -> Result<Client> {
    let (client, _) = connect_hearing(config).await?;
    Ok(client)
}

/// The same, with the notices and notifications that arrive.
///
/// # Errors
/// When Postgres cannot be reached or refuses.
pub async fn connect_hearing(config: &Config) -> Result<(Client, mpsc::UnboundedReceiver<AsyncMessage>)> {
    let (client, mut connection) = config
        .connect(NoTls)
        .await
        .with_context(|| format!("cannot connect to {:?} of {:?}", config.get_dbname(), config.get_hosts()))?;
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // An error ends the loop; each caller of the client gets it.
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            // Nobody has to listen.
            let _ = sender.send(message);
        }
    });
    Ok((client, receiver))
}
