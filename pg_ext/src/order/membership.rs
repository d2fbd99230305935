//! What never changes of a peer: the network that it is in, and its role there.

use tailnet_wire::{Role, role::UnknownRole};
use uuid::Uuid;

use crate::{error::Error, pg::statement::Row};

/// A peer's place. As it never changes, it may be read before the network is locked.
#[derive(Clone, Copy)]
pub struct Membership {
    pub network: Uuid,
    pub role: Role,
}

impl Membership {
    /// Reads network and role from two columns of a row.
    pub fn from_row(row: &Row<'_>, first: usize) -> Result<Self, Error> {
        Ok(Self { network: row.id(first)?, role: role_from_row(row, first + 1)? })
    }
}

/// Reads a role from a column of a row.
pub fn role_from_row(row: &Row<'_>, column: usize) -> Result<Role, Error> {
    let role: String = row.get(column)?;
    role.parse().map_err(|error: UnknownRole| Error::Corrupt(error.to_string()))
}
