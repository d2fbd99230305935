//! Array arguments of SQL functions. They are checked before anything is locked.

use tailnet_wire::limits::MAX_BATCH;
use uuid::Uuid;

use crate::{error::Error, pg::uuids::from_pg};

/// An array argument as pgrx hands it over: the array and each element may be NULL.
pub type Array<T> = Option<Vec<Option<T>>>;

/// The elements of an array whose elements may be NULL.
pub fn elements<T>(name: &'static str, array: Array<T>) -> Result<Vec<Option<T>>, Error> {
    let array = array.ok_or(Error::NullArgument(name, "an array"))?;
    if array.len() > MAX_BATCH {
        return Err(Error::TooLong { name, found: array.len(), max: MAX_BATCH });
    }
    Ok(array)
}

/// The elements of an array whose elements must not be NULL.
pub fn values<T>(name: &'static str, array: Array<T>) -> Result<Vec<T>, Error> {
    elements(name, array)?
        .into_iter()
        .enumerate()
        .map(|(i, element)| element.ok_or(Error::NullElement { name, index: i + 1 }))
        .collect()
}

/// The ids of an array whose elements must not be NULL.
pub fn ids(name: &'static str, array: Array<pgrx::Uuid>) -> Result<Vec<Uuid>, Error> {
    Ok(values(name, array)?.into_iter().map(from_pg).collect())
}

/// Refuses an array that is not as long as the first array of its batch.
pub fn same_length<A, B>(other: &'static str, first: &[A], name: &'static str, second: &[B]) -> Result<(), Error> {
    if first.len() == second.len() {
        return Ok(());
    }
    Err(Error::Length { name, found: second.len(), other, expected: first.len() })
}
