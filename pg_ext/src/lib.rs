//! A tailnet coordinator that lives in Postgres.
//!
//! Every function that changes coordination state does the same in one transaction: it locks the networks that it touches
//! ([`order::turn`]), writes, looks up which coordinators must hear of it ([`order::fanout`]), and NOTIFYs those
//! ([`pg::notify`]). So the channel of each coordinator is a totally ordered log of what was committed.
//!
//! The folders, from the bottom up. A file imports only files that stand above it here.
//!
//! - [`error`]: the errors of SQL calls; [`settings`]: what an operator may set
//! - [`pg`], a toolkit on top of pgrx, and the only place with unsafe code
//!   - [`pg::uuids`]: the two uuid types; [`pg::arguments`]: array arguments, checked
//!   - [`pg::advisory`]: advisory locks; [`pg::transaction`]: isolation level and local settings
//!   - [`pg::subtransaction`]: statements that may fail
//!   - [`pg::input`]: values that Postgres reads from text; [`pg::named_relation`]: rows that a statement reads as a table
//!   - [`pg::statement`]: SPI statements with kept plans; [`pg::notify`]: the channel of a registration
//! - [`order`], the order of the log
//!   - [`order::locks`]: the locks of networks, coordinators and registrations
//!   - [`order::registration`]: which coordinator calls; [`order::membership`]: network and role of a peer
//!   - [`order::fanout`]: events, each for the coordinators that must hear of it
//!   - [`order::turn`]: changes of a network happen one after the other
//! - [`credentials`], what a caller must show
//!   - `credentials::mac`: authentication codes; [`credentials::proof`]: a session number counts only with its proof
//!   - `credentials::resume`: a peer of a shared key comes back as the same peer
//!   - [`credentials::session_numbers`]: new numbers are above all that were given out
//! - [`peers`], what peers do
//!   - [`peers::batch`]: sessions and tunnel requests in arguments; [`peers::fencing`]: the newest session counts
//!   - [`peers::binding`]: nodes; [`peers::view`]: what a session must know of its tunnel partners
//!   - [`peers::key_peers`]: how many peers each key has
//!   - [`peers::permission`]: which tunnels a session may open; `peers::explanation`: why, for operators
//!   - [`peers::tunnel_events`]: who is told of tunnels; [`peers::tunnel`]: tunnels are opened and closed
//!   - [`peers::handshake`]: a peer is ready for a handshake
//!   - [`peers::session_start`]: sessions are attached and restored
//!   - [`peers::session_end`]: sessions are lost and disconnected
//!   - `peers::dial`: whether a token may reach an agent, before there is a session
//! - [`derp_maps`]: the relays of networks
//! - [`withdrawals`], what operators take away
//!   - [`withdrawals::pending`]: what is to end
//!   - [`withdrawals::expiry`]: what was good until some time; [`withdrawals::absent_peers`]: peers of keys that stay away
//!   - [`withdrawals::ended_peers`]: peers that may not connect any more; [`withdrawals::forbidden_tunnels`]: tunnels that
//!     nothing allows any more; [`withdrawals::judged_tunnels`]: which tunnels are to be judged again
//!   - [`withdrawals::reap`]: a proxy ends what is pending; [`withdrawals::revocation`]: an operator takes away access
//! - [`coordinators`], running proxies
//!   - [`coordinators::end`]: a coordinator dies or closes; [`coordinators::expiry`]: which ones died
//!   - [`coordinators::lost_peers`]: peers that stay lost are removed
//!   - [`coordinators::heartbeat`]: a coordinator lives, and cleans up after others
//!   - [`coordinators::coordinator`]: a coordinator registers, listens and closes
//! - [`connection_logs`], who used an agent
//!   - [`connection_logs::literal`]: times and addresses in JSON; [`connection_logs::entry`]: events, merged
//!   - [`connection_logs::table`]: entries are written
//!
//! SQL that needs no lock is in the folder `sql` of the repository. The files are joined below in the order of their
//! dependencies.

#![deny(unsafe_code)]

use pgrx::prelude::*;

mod connection_logs;
mod coordinators;
mod credentials;
mod derp_maps;
mod error;
mod order;
mod peers;
mod pg;
mod settings;
mod withdrawals;

pgrx::pg_module_magic!();

#[pg_guard]
extern "C-unwind" fn _PG_init() {
    settings::define();
}

extension_sql_file!("../../sql/durable.sql", name = "durable", bootstrap);
extension_sql_file!("../../sql/ephemeral.sql", name = "ephemeral", requires = ["durable"]);
extension_sql_file!("../../sql/operators.sql", name = "operators", requires = ["ephemeral"]);
extension_sql_file!("../../sql/pending.sql", name = "pending", requires = ["durable"]);
extension_sql_file!("../../sql/derp_maps.sql", name = "derp_maps", requires = ["operators", "pending"]);
extension_sql_file!("../../sql/secrets.sql", name = "secrets", requires = ["durable"]);
extension_sql_file!("../../sql/keys.sql", name = "keys", requires = ["ephemeral", "operators"]);
extension_sql_file!("../../sql/deletions.sql", name = "deletions", requires = ["policies"]);
extension_sql_file!("../../sql/enrolments.sql", name = "enrolments", requires = ["policies"]);
extension_sql_file!("../../sql/policies.sql", name = "policies", requires = ["keys", "pending"]);
extension_sql_file!("../../sql/authenticate.sql", name = "authenticate", requires = ["deletions", "secrets"]);
extension_sql_file!("../../sql/lookups.sql", name = "lookups", requires = ["ephemeral"]);
extension_sql_file!("../../sql/agent_connections.sql", name = "agent_connections", requires = ["durable"]);
extension_sql_file!("../../sql/agents.sql", name = "agents", requires = ["agent_connections", "operators"]);
extension_sql_file!(
    "../../sql/connection_logs.sql",
    name = "connection_logs",
    requires = ["durable", upsert_connection_logs]
);
extension_sql_file!("../../sql/views.sql", name = "views", requires = ["keys"]);
extension_sql_file!(
    "../../sql/view_comments.sql",
    name = "view_comments",
    requires = [
        "agents",
        "connection_logs",
        "deletions",
        "derp_maps",
        "enrolments",
        "keys",
        "pending",
        "policies",
        "secrets",
        "views"
    ]
);
extension_sql_file!(
    "../../sql/function_comments.sql",
    name = "function_comments",
    requires = [
        register_coordinator,
        listen_coordinator,
        heartbeat_coordinator,
        close_coordinator,
        attach_peers,
        restore_peers,
        bind_peers,
        lose_peers,
        disconnect_peers,
        open_tunnels,
        close_tunnels,
        ready_for_handshake,
        view_peers,
        explain_tunnel,
        judge_dials,
        reap,
        revoke_key,
        revoke_peer,
        revoke_tunnel,
        upsert_connection_logs
    ]
);
extension_sql_file!(
    "../../sql/roles.sql",
    name = "roles",
    requires = ["authenticate", "function_comments", "lookups", "view_comments"]
);
extension_sql_file!("../../sql/function_settings.sql", name = "function_settings", finalize);
