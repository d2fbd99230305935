//! How connections to Postgres are made.

use std::{str::FromStr, time::Duration};

use tokio_postgres::{
    Client, Config, Connection, NoTls, Socket,
    config::{SslMode, TargetSessionAttrs},
    tls::NoTlsStream,
};

/// Longer calls are ended by Postgres: a batch takes milliseconds, so one that does not end is stuck.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);

/// For each address of each host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that acknowledges nothing for this long is gone. A stalled one still acknowledges.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Where Postgres is.
#[derive(Clone)]
pub struct Database {
    config: Config,
    name: String,
}

/// A connection URL that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Not in a form that libpq would take.
    #[error("not a Postgres connection URL (postgres://user@host:port/database)")]
    Url(#[source] tokio_postgres::Error),
    /// TLS is demanded.
    #[error("sslmode=require needs TLS, which this build does not have: use sslmode=prefer, or a TLS tunnel")]
    Tls,
}

impl FromStr for Database {
    type Err = DatabaseError;

    fn from_str(url: &str) -> Result<Self, DatabaseError> {
        let mut config = Config::from_str(url).map_err(DatabaseError::Url)?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(DatabaseError::Tls);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        config
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        // Of several hosts the one that takes writes.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self { config, name: String::new() })
    }
}

impl Database {
    /// With the name of this proxy, for `application_name`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Connects for one purpose. The connection must be driven by the caller.
    ///
    /// # Errors
    /// When no host can be reached or the login is refused.
    pub async fn connect(
        &self,
        purpose: &str,
    ) -> Result<(Client, Connection<Socket, NoTlsStream>), tokio_postgres::Error> {
        let mut config = self.config.clone();
        config.application_name(format!("tailnet-proxy/{}/{purpose}", self.name));
        let timeout = format!("-c statement_timeout={}", STATEMENT_TIMEOUT.as_millis());
        config.options(match config.get_options() {
            Some(given) => format!("{timeout} {given}"),
            None => timeout,
        });
        config.connect(NoTls).await
    }
}

impl std::fmt::Debug for Database {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("hosts", &self.config.get_hosts())
            .field("ports", &self.config.get_ports())
            .field("database", &self.config.get_dbname())
            .field("user", &self.config.get_user())
            .finish()
    }
}
