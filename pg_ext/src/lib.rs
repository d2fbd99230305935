//! A tailnet coordinator that lives in Postgres.
//!
//! Every function that changes coordination state goes the same way: take the lock of the networks it touches
//! ([`turn`]), write, look up which coordinators must hear of it ([`fanout`]), and NOTIFY those ([`notify`]), in one
//! transaction. So each coordinator's channel is a totally ordered log of what was committed.
//!
//! SQL that needs no lock is in `sql/`, joined below in the order of its dependencies. Modules, from the bottom up:
//!
//! - [`settings`]: what an operator may set
//! - [`error`]: what a caller can do wrong, with SQLSTATE and hint
//! - [`array`]: array arguments, checked
//! - [`advisory`]: the locks of a transaction
//! - [`statement`]: SPI statements with kept plans
//! - [`notify`]: the channel of a registration
//! - [`fanout`]: events, each to the coordinators that must hear of it
//! - [`turn`]: one change's turn in the order of its networks
//! - [`reaper`]: what a coordinator does for those that are gone
//! - [`coordinator`], [`session`], [`view`], [`binding`], [`tunnel`], [`handshake`], [`revocation`]: the nouns, each
//!   with the SQL functions about it

use pgrx::prelude::*;

mod advisory;
mod array;
mod binding;
mod connection_event;
mod connection_log;
mod coordinator;
mod error;
mod fanout;
mod handshake;
mod literal;
mod notify;
mod reaper;
mod relation;
mod revocation;
mod session;
mod settings;
mod statement;
mod subtransaction;
mod tunnel;
mod turn;
mod view;

pgrx::pg_module_magic!();

#[pg_guard]
extern "C-unwind" fn _PG_init() {
    settings::define();
}

extension_sql_file!("../../sql/durable.sql", name = "durable", bootstrap);
extension_sql_file!("../../sql/ephemeral.sql", name = "ephemeral", requires = ["durable"]);
extension_sql_file!("../../sql/views.sql", name = "views", requires = ["ephemeral"]);
extension_sql_file!("../../sql/operators.sql", name = "operators", requires = ["durable"]);
extension_sql_file!("../../sql/lookups.sql", name = "lookups", requires = ["ephemeral"]);
extension_sql_file!("../../sql/authenticate.sql", name = "authenticate", requires = ["durable"]);
extension_sql_file!("../../sql/agent_connections.sql", name = "agent_connections", requires = ["views"]);
extension_sql_file!("../../sql/connection_logs.sql", name = "connection_logs", requires = ["views"]);
extension_sql_file!("../../sql/functions.sql", name = "functions", finalize);
