//! SPI statements with kept plans.
//!
//! The planner goes by how large a table is when it plans. A plan from when the tables were as good as empty (after a
//! crash, or when a fleet has left) reads whole indexes, which cost nothing then; kept for the life of a backend, it would
//! make each change cost what the tables hold. So the first plans are not kept, and the later ones for a time.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, Instant},
};

use pgrx::{
    FromDatum, IntoDatum, PgOid,
    datum::DatumWithOid,
    spi::{OwnedPreparedStatement, Spi, SpiHeapTupleData, SpiTupleTable},
};

use crate::{array::from_pg, error::Error, relation::Named};

/// So often a statement is planned for each execution. Planning takes a fraction of a millisecond.
const YOUNG: u64 = 64;

/// A fleet takes seconds to come.
const PLAN_LIFE: Duration = Duration::from_secs(10);

thread_local! {
    // A backend is one thread.
    static PLANS: RefCell<HashMap<&'static str, Plan>> = RefCell::default();
}

struct Plan {
    statement: OwnedPreparedStatement,
    made: Instant,
    /// Of this statement, under all its plans.
    executions: u64,
}

/// Runs a statement, and maps its rows.
pub fn rows<T>(
    sql: &'static str,
    args: &[DatumWithOid<'_>],
    map: impl Fn(&Row<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    execute(None, sql, args, |table| table.map(|tuple| map(&Row(tuple))).collect())
}

/// The same for a statement that reads a relation of the caller.
pub fn rows_from<T>(
    relation: &impl Named,
    sql: &'static str,
    args: &[DatumWithOid<'_>],
    map: impl Fn(&Row<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    execute(Some(relation), sql, args, |table| table.map(|tuple| map(&Row(tuple))).collect())
}

/// Runs a statement that returns nothing of interest, and returns how many rows it touched.
pub fn run(sql: &'static str, args: &[DatumWithOid<'_>]) -> Result<usize, Error> {
    execute(None, sql, args, |table| Ok(table.len()))
}

/// The same for a statement that reads a relation of the caller.
pub fn run_from(relation: &impl Named, sql: &'static str) -> Result<usize, Error> {
    execute(Some(relation), sql, &[], |table| Ok(table.len()))
}

/// Always as a statement that may write: a read-only one would see the snapshot of the calling query, taken before this
/// transaction waited for its turn.
fn execute<T>(
    relation: Option<&dyn Named>,
    sql: &'static str,
    args: &[DatumWithOid<'_>],
    read: impl FnOnce(SpiTupleTable<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    Spi::connect_mut(|client| {
        if let Some(relation) = relation {
            relation.register();
        }
        PLANS.with_borrow_mut(|plans| {
            let executions = plans.get(sql).map_or(0, |plan| plan.executions) + 1;
            let stale = |plan: &Plan| executions <= YOUNG || plan.made.elapsed() > PLAN_LIFE;
            if plans.get(sql).is_none_or(stale) {
                let types: Vec<PgOid> = args.iter().map(|arg| PgOid::from(arg.oid())).collect();
                let statement = client.prepare_mut(sql, &types)?.keep();
                plans.insert(sql, Plan { statement, made: Instant::now(), executions });
            }
            let plan = plans.get_mut(sql).expect("it was just made");
            plan.executions = executions;
            // The kept plan derefs to one of this connection's life.
            read(client.update(&*plan.statement, None, args)?)
        })
    })
}

/// One row of a result; columns count from 1.
pub struct Row<'a>(SpiHeapTupleData<'a>);

impl Row<'_> {
    /// A column that may be NULL.
    pub fn maybe<T: FromDatum + IntoDatum>(&self, column: usize) -> Result<Option<T>, Error> {
        Ok(self.0.get(column)?)
    }

    /// A column that the query never leaves NULL.
    pub fn get<T: FromDatum + IntoDatum>(&self, column: usize) -> Result<T, Error> {
        self.maybe(column)?.ok_or_else(|| Error::Corrupt(format!("NULL in column {column} of a result")))
    }

    /// A uuid that may be NULL.
    pub fn maybe_id(&self, column: usize) -> Result<Option<uuid::Uuid>, Error> {
        Ok(self.maybe::<pgrx::Uuid>(column)?.map(from_pg))
    }

    /// A uuid that the query never leaves NULL.
    pub fn id(&self, column: usize) -> Result<uuid::Uuid, Error> {
        Ok(from_pg(self.get(column)?))
    }

    /// A place in an array parameter, from WITH ORDINALITY, as an index from 0.
    pub fn place(&self, column: usize) -> Result<usize, Error> {
        let ordinal: i64 = self.get(column)?;
        usize::try_from(ordinal - 1).map_err(|_| Error::Corrupt(format!("ordinal {ordinal} of a result")))
    }
}
