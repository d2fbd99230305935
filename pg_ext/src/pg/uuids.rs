//! The extension works with the uuids of the `uuid` crate; arguments and results of SQL are those of pgrx.

use uuid::Uuid;

pub fn from_pg(id: pgrx::Uuid) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

pub fn to_pg(id: Uuid) -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(id.into_bytes())
}

/// An array parameter of a statement.
pub fn uuid_array(ids: impl IntoIterator<Item = Uuid>) -> Vec<pgrx::Uuid> {
    ids.into_iter().map(to_pg).collect()
}
