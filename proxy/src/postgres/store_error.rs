//! Why a call failed, and what that means for its batch.

use tokio_postgres::error::SqlState;

use crate::batch::bisect::{CallError, Failure};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no connection.
    #[error("cannot connect to Postgres")]
    Connect(#[source] tokio_postgres::Error),
    /// Postgres did not answer the call, or refused it.
    #[error("{function} failed")]
    Call {
        /// The SQL function.
        function: &'static str,
        /// Why.
        source: tokio_postgres::Error,
    },
}

impl CallError for StoreError {
    fn failure(&self) -> Failure {
        let source = match self {
            Self::Connect(_) => return Failure::Retry,
            Self::Call { source, .. } => source,
        };
        match source.code() {
            None => Failure::Unknown,
            Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => Failure::Unregistered,
            // Classes of SQLSTATE: bad data, cardinality, integrity, program limits.
            Some(code) if ["22", "21", "23", "54"].contains(&&code.code()[..2]) => Failure::Refused,
            Some(_) => Failure::Retry,
        }
    }

    fn reason(&self) -> String {
        let (Self::Connect(source) | Self::Call { source, .. }) = self;
        source.as_db_error().map_or_else(|| source.to_string(), |error| error.message().to_owned())
    }
}
