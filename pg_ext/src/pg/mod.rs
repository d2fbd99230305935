//! A small toolkit on top of pgrx. All unsafe code of the extension is here; `lib.rs` denies it elsewhere.

pub mod advisory;
pub mod arguments;
pub mod input;
pub mod named_relation;
pub mod notify;
pub mod statement;
pub mod subtransaction;
pub mod transaction;
pub mod uuids;
