//! A network that a run has left.

use std::fmt;

use anyhow::{Context, Result};
use tokio_postgres::{Client, Row};

use crate::network::{Network, PATTERN};

/// What there is of it.
#[derive(Debug, Clone)]
pub struct Leftover {
    pub network: Network,
    pub peers: i64,
    made_at: String,
    /// Peers that are not revoked.
    good: i64,
    /// Peers with a live session.
    connected: i64,
    /// Its run is connected to the database.
    goes_on: bool,
}

/// What is to be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Remove,
    /// Revoke its identities.
    Revoke,
    /// Leave it alone.
    Keep(Reason),
}

/// Why it is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    GoesOn,
    Connected(i64),
    /// All its peers are, and more the user may not do.
    Revoked,
}

const LEFT: &str = "
    SELECT n.name, to_char(n.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC', count(i.peer_id),
           count(i.peer_id) FILTER (WHERE i.revoked_at IS NULL), count(p.coordinator),
           EXISTS (SELECT FROM pg_stat_activity a
                   WHERE a.application_name = $2 || n.name AND a.datname = current_database())
    FROM tailnet.networks n
    LEFT JOIN tailnet.identities i ON i.network = n.name
    LEFT JOIN tailnet.peers p ON p.peer_id = i.peer_id
    WHERE n.name ~ $1 AND ($3::text IS NULL OR n.name = $3)
    GROUP BY n.name, n.created_at ORDER BY n.created_at, n.name";

impl Leftover {
    /// Those of all runs, the oldest first.
    ///
    /// # Errors
    /// When the user may not read them.
    pub async fn all(sql: &Client) -> Result<Vec<Self>> {
        Self::read(sql, None).await
    }

    /// The same network as it is now; None: it is gone.
    ///
    /// # Errors
    /// When the user may not read it.
    pub async fn again(&self, sql: &Client) -> Result<Option<Self>> {
        Ok(Self::read(sql, Some(&self.network)).await?.pop())
    }

    async fn read(sql: &Client, only: Option<&Network>) -> Result<Vec<Self>> {
        let rows = sql.query(LEFT, &[&PATTERN, &Network::APPLICATION, &only.map(Network::as_str)]).await;
        let rows = rows.context("cannot read the networks: the user must be in the role tailnet_reader")?;
        let leftover = |row: &Row| Self {
            network: Network::named(row.get(0)),
            made_at: row.get(1),
            peers: row.get(2),
            good: row.get(3),
            connected: row.get(4),
            goes_on: row.get(5),
        };
        Ok(rows.iter().map(leftover).collect())
    }

    /// What is to be done with it.
    pub fn fate(&self, is_superuser: bool) -> Fate {
        match self {
            Self { goes_on: true, .. } => Fate::Keep(Reason::GoesOn),
            Self { connected: 1.., .. } => Fate::Keep(Reason::Connected(self.connected)),
            _ if is_superuser => Fate::Remove,
            Self { good: 1.., .. } => Fate::Revoke,
            _ => Fate::Keep(Reason::Revoked),
        }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, made_at, peers, .. } = self;
        write!(f, "{network}, made {made_at}, {}", count(*peers, "peer"))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoesOn => write!(f, "its run goes on"),
            Self::Connected(1) => write!(f, "1 of its peers is connected"),
            Self::Connected(peers) => write!(f, "{peers} of its peers are connected"),
            Self::Revoked => write!(f, "all its peers are revoked, and only a superuser may remove it"),
        }
    }
}

/// A number of things, such as `1 peer` and `2 peers`.
pub fn count(number: i64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_uses_is_touched() {
        let fate = |good, connected, goes_on, is_superuser| {
            let network = Network::new(7);
            let left = Leftover { network, peers: 9, made_at: String::new(), good, connected, goes_on };
            left.fate(is_superuser)
        };
        for is_superuser in [true, false] {
            assert_eq!(fate(9, 0, true, is_superuser), Fate::Keep(Reason::GoesOn));
            assert_eq!(fate(9, 2, false, is_superuser), Fate::Keep(Reason::Connected(2)));
        }
        assert_eq!((fate(9, 0, false, true), fate(9, 0, false, false)), (Fate::Remove, Fate::Revoke));
        assert_eq!((fate(0, 0, false, true), fate(0, 0, false, false)), (Fate::Remove, Fate::Keep(Reason::Revoked)));
    }
}
