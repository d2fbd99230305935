//! The errors of SQL calls, with SQLSTATE and hint.

use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys::panic::ErrorReport};
use tailnet_wire::{
    Chain, ConnectionEventError, DerpMapError,
    limits::{OLDEST_PROTOCOL, PROTOCOL},
};
use uuid::Uuid;

/// Why a call failed, with all its entries. If only one entry of a batch is wrong, the log says so, and the call succeeds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("argument {0} is NULL, expected {1}")]
    NullArgument(&'static str, &'static str),
    #[error("element {index} of {name} is NULL, expected none")]
    NullElement { name: &'static str, index: usize },
    #[error("{name} has {found} elements, expected {expected} as in {other}")]
    Length { name: &'static str, found: usize, other: &'static str, expected: usize },
    #[error("{name} has {found} elements, expected at most {max}")]
    TooLong { name: &'static str, found: usize, max: usize },
    #[error("isolation level of the transaction is REPEATABLE READ or higher, expected READ COMMITTED")]
    Isolation,
    #[error("registration of the coordinator is not current")]
    NotRegistered,
    #[error("the proxy speaks version {0} of the protocol, expected {OLDEST_PROTOCOL} to {PROTOCOL}")]
    Protocol(i32),
    #[error("there is no peer {0}")]
    UnknownPeer(Uuid),
    #[error("there is no shared key {0}")]
    UnknownKey(Uuid),
    #[error(transparent)]
    DerpMap(DerpMapError),
    #[error("events are malformed")]
    Events(#[source] serde_json::Error),
    #[error("event {place} {error}")]
    ConnectionEvent { place: i32, error: ConnectionEventError },
    #[error("event {place} has an infinite time")]
    InfiniteTime { place: i32 },
    #[error("event {place} is of agent {agent}, which does not exist")]
    UnknownAgent { place: i32, agent: Uuid },
    #[error("statement of the extension failed")]
    Spi(#[from] pgrx::spi::Error),
    #[error("{0} in a table of the extension")]
    Corrupt(String),
}

impl Error {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NullArgument(..) | Self::NullElement { .. } => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::Length { .. }
            | Self::DerpMap(_)
            | Self::Events(_)
            | Self::ConnectionEvent { .. }
            | Self::InfiniteTime { .. }
            | Self::UnknownAgent { .. } => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::TooLong { .. } => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::Isolation => PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_STATE,
            Self::NotRegistered => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Protocol(_) => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::UnknownPeer(_) | Self::UnknownKey(_) => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::Spi(_) => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            Self::Corrupt(_) => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Length { .. } => Some("The arrays of a batch have one element for each entry."),
            Self::TooLong { .. } => Some("Split the batch: a call holds the locks of its networks until it ends."),
            Self::Isolation => Some(
                "Use READ COMMITTED, the default. A change must see what was committed while it waited for its turn.",
            ),
            Self::NotRegistered => Some(
                "The coordinator was expired or has registered again: call tailnet.register_coordinator and restore \
                 its peers.",
            ),
            Self::Protocol(found) if *found > PROTOCOL => Some("Install the new extension before the new proxies."),
            Self::Protocol(_) => Some("Install the proxy of the same release as the extension."),
            Self::DerpMap(_) => Some("The fields are those of tailcfg.DERPMap; docs/tailnet-v2.md shows a small map."),
            Self::UnknownKey(_) => Some("A key of kind peer is a peer: tailnet.revoke_peer revokes it."),
            _ => None,
        }
    }
}

/// Runs the body of a SQL function, and raises its error as an error of Postgres.
pub fn raise_error<T>(body: impl FnOnce() -> Result<T, Error>) -> T {
    match body() {
        Ok(value) => value,
        Err(error) => {
            let mut report = ErrorReport::new(error.sqlstate(), Chain(&error).to_string(), "pg_tailnet");
            if let Some(hint) = error.hint() {
                report = report.set_hint(hint);
            }
            report.report(PgLogLevel::ERROR);
            unreachable!("an ERROR does not return")
        }
    }
}
