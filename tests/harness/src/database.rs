//! A database for one test, and the roles that log in to it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tailnet_tools::cluster;
use tokio_postgres::{Client, Config};
use uuid::Uuid;

use crate::operator::{Operator, Peers};

/// Serialises `CREATE EXTENSION`, which makes roles of the whole cluster.
const INSTALL_LOCK: i64 = 0x7461_696c;

/// A database with the extension. Its name is random: tests run side by side.
#[derive(Debug)]
pub struct Database {
    name: String,
    maintenance: Config,
    superuser: Config,
    logins: Vec<Login>,
}

/// A role that a proxy logs in with. Each proxy has its own, so that statements can be told apart.
#[derive(Debug, Clone)]
pub struct Login {
    pub role: String,
    password: String,
}

impl Database {
    /// Makes a database with the extension and a role for each of `logins` proxies.
    pub async fn create(logins: usize) -> Result<Self> {
        Self::create_in(cluster::superuser()?, logins).await
    }

    /// Does this in any cluster.
    pub async fn create_in(cluster: Config, logins: usize) -> Result<Self> {
        let mut superuser = cluster.clone();
        let maintenance = cluster::connect(&superuser).await?;
        let name = format!("tailnet_test_{}", Uuid::new_v4().simple());
        maintenance.batch_execute(&format!("CREATE DATABASE {name}")).await.context("cannot create a database")?;
        superuser.dbname(&name);
        let mut database = Self { name, maintenance: cluster, superuser, logins: Vec::new() };
        database.install(&maintenance).await?;
        for index in 0..logins {
            let (role, password) = (format!("{}_{index}", database.name), Uuid::new_v4().simple().to_string());
            let create = format!("CREATE ROLE {role} LOGIN PASSWORD '{password}' IN ROLE tailnet_proxy");
            maintenance.batch_execute(&create).await.context("cannot create the role of a proxy")?;
            database.logins.push(Login { role, password });
        }
        Ok(database)
    }

    async fn install(&self, maintenance: &Client) -> Result<()> {
        let own = self.connect().await?;
        maintenance.execute("SELECT pg_advisory_lock($1)", &[&INSTALL_LOCK]).await?;
        own.batch_execute("CREATE EXTENSION pg_tailnet; CREATE EXTENSION pg_stat_statements")
            .await
            .context("cannot create the extensions: 'make install' installs pg_tailnet")?;
        maintenance.execute("SELECT pg_advisory_unlock($1)", &[&INSTALL_LOCK]).await?;
        Ok(())
    }

    pub fn logins(&self) -> &[Login] {
        &self.logins
    }

    pub fn superuser(&self) -> &Config {
        &self.superuser
    }

    pub async fn connect(&self) -> Result<Client> {
        cluster::connect(&self.superuser).await
    }

    pub async fn operator(&self) -> Result<Operator> {
        Ok(Operator { sql: self.connect().await?, peers: Peers::default() })
    }

    pub fn as_proxy(&self, login: &Login) -> Config {
        let mut config = self.superuser.clone();
        config.user(&login.role).password(&login.password);
        config
    }

    pub fn address(&self) -> Result<SocketAddr> {
        cluster::address(&self.superuser)
    }

    /// The URL of a proxy, for its environment.
    pub fn url(&self, login: &Login) -> Result<String> {
        Ok(self.url_at(login, &[self.address()?.to_string()]))
    }

    /// The URL of a proxy that reaches Postgres at one of these places (`host:port`).
    pub fn url_at(&self, login: &Login, places: &[String]) -> String {
        format!("postgres://{}:{}@{}/{}", login.role, login.password, places.join(","), self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes it with all that it put into the cluster.
    pub async fn drop(self) -> Result<()> {
        let own = self.connect().await?;
        // Statistics outlive their database, and have no room for all tests.
        let reset = "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()";
        own.execute(reset, &[]).await?;
        drop(own);
        let maintenance = cluster::connect(&self.maintenance).await?;
        maintenance.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await?;
        for Login { role, .. } in &self.logins {
            maintenance.batch_execute(&format!("DROP ROLE {role}")).await?;
        }
        Ok(())
    }
}
