//! The ways to write rows, the same for sightings and for events of connections.

use std::{io::Cursor, pin::pin};

use anyhow::Result;
use futures_util::SinkExt;
use tokio_postgres::{Client, Statement};

use crate::writes::world::World;

/// A way to write rows.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// One prepared INSERT … ON CONFLICT DO UPDATE a row.
    Upsert,
    /// The function, with this many a call.
    Function(usize),
    /// COPY of this many into a staging table, and one statement that merges them, in one transaction.
    Copy(usize),
}

/// The first one is what the others are compared with.
pub const WAYS: [Way; 7] = [
    Way::Upsert,
    Way::Function(1),
    Way::Function(50),
    Way::Function(500),
    Way::Function(1_000),
    Way::Copy(500),
    Way::Copy(1_000),
];

/// Writes rows of one kind in one way. Each way returns how many rows it has written.
pub trait Writer {
    /// What a row is made of.
    type Entry;

    /// The function of the extension.
    const FUNCTION: &'static str;

    async fn upsert(&self, entry: &Self::Entry) -> Result<u64>;

    async fn call(&self, entries: &[Self::Entry]) -> Result<u64>;

    async fn copy(&self, entries: &[Self::Entry]) -> Result<u64>;
}

impl Way {
    pub fn name(self, function: &str) -> String {
        match self {
            Self::Upsert => "single-row upsert".to_owned(),
            Self::Function(rows) => format!("{function}, {rows} a call"),
            Self::Copy(rows) => format!("COPY + merge, {rows} a transaction"),
        }
    }

    pub async fn write<W: Writer>(self, writer: &W, entries: &[W::Entry]) -> Result<u64> {
        let mut written = 0;
        match self {
            Self::Upsert => {
                for entry in entries {
                    written += writer.upsert(entry).await?;
                }
            }
            Self::Function(rows) => {
                for entries in entries.chunks(rows) {
                    written += writer.call(entries).await?;
                }
            }
            Self::Copy(rows) => {
                for entries in entries.chunks(rows) {
                    written += writer.copy(entries).await?;
                }
            }
        }
        Ok(written)
    }
}

/// A connection with a staging table.
#[derive(Debug)]
pub struct Staging {
    client: Client,
    copy: Statement,
    merge: Statement,
}

impl Staging {
    /// A table `staged` with these columns, and the statement that merges it.
    pub async fn open(world: &World, columns: &str, merge: &str) -> Result<Self> {
        let client = world.connect_planning_as_functions().await?;
        client.batch_execute(&format!("CREATE TEMP TABLE staged ({columns}) ON COMMIT DELETE ROWS")).await?;
        let (copy, merge) = (client.prepare("COPY staged FROM STDIN").await?, client.prepare(merge).await?);
        Ok(Self { client, copy, merge })
    }

    /// One transaction: COPY of these lines, and the statement that merges them. Returns how many rows it has written.
    pub async fn write(&self, lines: String) -> Result<u64> {
        self.client.batch_execute("BEGIN").await?;
        let mut sink = pin!(self.client.copy_in(&self.copy).await?);
        sink.send(Cursor::new(lines.into_bytes())).await?;
        sink.finish().await?;
        let written = self.client.execute(&self.merge, &[]).await?;
        self.client.batch_execute("COMMIT").await?;
        Ok(written)
    }
}
