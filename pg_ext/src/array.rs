//! Array arguments, checked before anything is locked.

use tailnet_wire::limits::MAX_BATCH;

use crate::error::Error;

/// An array argument as Postgres hands it over.
pub type Array<T> = Option<Vec<Option<T>>>;

/// The elements of an array that may hold NULLs.
pub fn elements<T>(name: &'static str, array: Array<T>) -> Result<Vec<Option<T>>, Error> {
    let array = array.ok_or(Error::NullArgument(name, "an array"))?;
    if array.len() > MAX_BATCH {
        return Err(Error::TooLong { name, found: array.len(), max: MAX_BATCH });
    }
    Ok(array)
}

/// The elements of an array without NULLs.
pub fn values<T>(name: &'static str, array: Array<T>) -> Result<Vec<T>, Error> {
    elements(name, array)?
        .into_iter()
        .enumerate()
        .map(|(i, element)| element.ok_or(Error::NullElement { name, index: i + 1 }))
        .collect()
}

/// Ids of an array without NULLs.
pub fn ids(name: &'static str, array: Array<pgrx::Uuid>) -> Result<Vec<uuid::Uuid>, Error> {
    Ok(values(name, array)?.into_iter().map(from_pg).collect())
}

/// Refuses arrays that are not as long as the first of their batch.
pub fn same_length<A, B>(other: &'static str, first: &[A], name: &'static str, second: &[B]) -> Result<(), Error> {
    if first.len() == second.len() {
        return Ok(());
    }
    Err(Error::Length { name, found: second.len(), other, expected: first.len() })
}

/// The uuid crate's view of a uuid of Postgres.
pub fn from_pg(id: pgrx::Uuid) -> uuid::Uuid {
    uuid::Uuid::from_bytes(*id.as_bytes())
}

/// The other way.
pub fn to_pg(id: uuid::Uuid) -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(id.into_bytes())
}

/// An array parameter of a statement.
pub fn uuid_array(ids: impl IntoIterator<Item = uuid::Uuid>) -> Vec<pgrx::Uuid> {
    ids.into_iter().map(to_pg).collect()
}
