//! One connection to Postgres for calls, with its prepared statements.

use std::collections::HashMap;

use tailnet_wire::Chain;
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Row, Statement,
    types::{FromSqlOwned, ToSql},
};

use crate::postgres::{database::Database, store_error::StoreError};

/// A parameter of a call.
pub type Param<'a> = &'a (dyn ToSql + Sync);

/// A connection that prepares each statement once.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    /// By the SQL function that they call.
    statements: HashMap<&'static str, Statement>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects, for one purpose.
    ///
    /// # Errors
    /// When no host can be reached or the login is refused.
    pub async fn open(database: &Database, purpose: &str) -> Result<Self, StoreError> {
        let (client, connection) = database.connect(purpose).await.map_err(StoreError::Connect)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %Chain(&error), "connection to Postgres ended");
            }
        });
        Ok(Self { client, driver, statements: HashMap::new() })
    }

    /// Whether it is known to have ended.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Calls a function and drops what it returns: the log says what the call did.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn call(
        &mut self,
        function: &'static str,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<(), StoreError> {
        self.rows(function, sql, params).await.map(drop)
    }

    /// Calls a function that returns one value.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn get<T: FromSqlOwned>(
        &mut self,
        function: &'static str,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<T, StoreError> {
        column(&self.row(function, sql, params).await?, function, 0)
    }

    /// Calls a function that returns one row.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn row(
        &mut self,
        function: &'static str,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Row, StoreError> {
        let statement = self.statement(function, sql).await?;
        self.client.query_one(&statement, params).await.map_err(|source| StoreError::Call { function, source })
    }

    /// Calls a function that returns rows.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn rows(
        &mut self,
        function: &'static str,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let statement = self.statement(function, sql).await?;
        self.client.query(&statement, params).await.map_err(|source| StoreError::Call { function, source })
    }

    async fn statement(&mut self, function: &'static str, sql: &'static str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(function) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await.map_err(|source| StoreError::Call { function, source })?;
        self.statements.insert(function, statement.clone());
        Ok(statement)
    }
}

/// One column of a row that a function returned.
///
/// # Errors
/// When its type is not the expected one.
pub fn column<T: FromSqlOwned>(row: &Row, function: &'static str, index: usize) -> Result<T, StoreError> {
    row.try_get(index).map_err(|source| StoreError::Call { function, source })
}
