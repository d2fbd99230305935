//! How connections to Postgres are made.

use std::{str::FromStr, time::Duration};

use tokio_postgres::{
    Client, Config, Connection, Socket,
    config::{SslMode, TargetSessionAttrs},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::postgres::authorities::{self, Authorities, AuthorityError};

/// Postgres ends a call that takes longer. A batch takes milliseconds, so such a call is stuck.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);

/// The most time to connect to one address of one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that acknowledges no TCP segment for so long is gone. A stalled one still acknowledges.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Where Postgres is.
#[derive(Clone)]
pub struct Database {
    config: Config,
    connector: MakeRustlsConnect,
    name: String,
}

/// The other half of a connection. The caller must poll it.
pub type Driver = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Why a connection URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Not in a form that libpq would take.
    #[error("not a Postgres connection URL (postgres://user@host:port/database)")]
    Url(#[source] tokio_postgres::Error),
    /// TLS is demanded, and there is no authority that can vouch for Postgres.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS is demanded and forbidden.
    #[error("sslmode=disable contradicts --database-ca, which demands TLS")]
    Contradiction,
}

impl FromStr for Database {
    type Err = DatabaseError;

    fn from_str(url: &str) -> Result<Self, DatabaseError> {
        let mut config = Config::from_str(url).map_err(DatabaseError::Url)?;
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
        Ok(Self { config, connector: authorities::unused(), name: String::new() })
    }
}

impl Database {
    /// With the name of this proxy, for `application_name`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Uses TLS when these authorities or `sslmode=require` demand it, and else none: TLS that is only preferred protects
    /// from nobody. Without authorities, those of the system judge.
    ///
    /// # Errors
    /// When TLS is forbidden, or there is no authority.
    pub fn vouched_for(mut self, authorities: Option<Authorities>) -> Result<Self, DatabaseError> {
        let authorities = match (self.config.get_ssl_mode(), authorities) {
            (SslMode::Disable, Some(_)) => return Err(DatabaseError::Contradiction),
            (SslMode::Require, None) => Some(Authorities::system()?),
            (_, authorities) => authorities,
        };
        self.config.ssl_mode(if authorities.is_some() { SslMode::Require } else { SslMode::Disable });
        if let Some(authorities) = authorities {
            self.connector = authorities.connector();
        }
        Ok(self)
    }

    /// Connects for one purpose. The connection must be driven by the caller.
    ///
    /// # Errors
    /// When no host can be reached or the login is refused.
    pub async fn connect(&self, purpose: &str) -> Result<(Client, Driver), tokio_postgres::Error> {
        let mut config = self.config.clone();
        config.application_name(format!("tailnet-proxy/{}/{purpose}", self.name));
        let timeout = format!("-c statement_timeout={}", STATEMENT_TIMEOUT.as_millis());
        config.options(match config.get_options() {
            Some(given) => format!("{timeout} {given}"),
            None => timeout,
        });
        config.connect(self.connector.clone()).await
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
