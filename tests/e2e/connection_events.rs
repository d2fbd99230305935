//! What agents report of connections to them.

use serde_json::{Value, json};
use uuid::Uuid;

pub const TIME: &str = "2026-01-01T00:00:00Z";

/// A connect without a connection id: it gets a row of its own.
pub fn alone() -> Value {
    json!({"id": Uuid::new_v4(), "type": "ssh", "connect_time": TIME})
}

pub fn connect(connection: Uuid) -> Value {
    json!({"id": Uuid::new_v4(), "connection_id": connection, "type": "ssh", "connect_time": TIME})
}

pub fn disconnect(connection: Uuid) -> Value {
    json!({"id": Uuid::new_v4(), "connection_id": connection, "type": "ssh", "disconnect_time": TIME})
}

/// The id by which a report is acknowledged.
pub fn id(report: &Value) -> Uuid {
    report["id"].as_str().and_then(|id| id.parse().ok()).expect("a report has an id")
}

pub fn ids(reports: &[Value]) -> Vec<Uuid> {
    reports.iter().map(id).collect()
}
