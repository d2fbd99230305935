//! Withdrawals: an operator takes something away, or it expires, also under sessions and tunnels that are live.
//!
//! The function of the operator writes the fact and a row that is *pending*. From its commit on nothing new is allowed by
//! what was taken away. It tells nobody: from a NOTIFY on Postgres holds a lock that all of the cluster shares, until the
//! commit is on disk, and an operator must be able to rely on the disk. The proxies *reap* what is pending, in calls that
//! do not wait for the disk. Each of them may die at any point: the row stays until all that it names has ended.

mod absent_peers;
mod deleted_networks;
mod ended_peers;
mod ended_sessions;
mod expiry;
mod judged_tunnels;
mod pending;
mod reap;
mod revocation;
