//! Coordinators: running proxies. They register, send heartbeats, and close. When one dies, another coordinator notices
//! the missing heartbeats and cleans up.

mod coordinator;
mod end;
mod expiry;
mod heartbeat;
mod lost_peers;
