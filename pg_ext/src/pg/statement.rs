//! SPI statements with kept plans.
//!
//! The planner looks at the size of a table when it plans. After a crash, or when all peers have left, the tables are
//! nearly empty, and a plan may read whole indexes. If a backend kept that plan for its life, each change would later cost
//! as much as the tables hold. So the first plans of a statement are not kept, and later ones are kept for some seconds.

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

use crate::{
    error::Error,
    pg::{named_relation::NamedRelation, uuids::from_pg},
};

/// The first executions of a statement, each of which is planned anew. Planning takes a fraction of a millisecond.
const YOUNG: u64 = 64;

/// How long a later plan is kept. Thousands of peers that connect at once take seconds, so the tables do not outgrow it.
const PLAN_LIFE: Duration = Duration::from_secs(10);

thread_local! {
    // A backend is one thread.
    static PLANS: RefCell<HashMap<&'static str, Plan>> = RefCell::default();
}

struct Plan {
    statement: OwnedPreparedStatement,
    made: Instant,
    /// Of this statement, with this plan and the ones before.
    executions: u64,
}

/// Runs a statement, and maps its rows.
pub fn rows<T>(
    sql: &'static str,
    args: &[DatumWithOid<'_>],
    map: impl Fn(&Row<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    execute(|| (), sql, args, |table| table.map(|tuple| map(&Row(tuple))).collect())
}

/// The same for a statement that reads a table of the caller.
pub fn rows_from<R, T>(
    relation: &NamedRelation<R>,
    sql: &'static str,
    args: &[DatumWithOid<'_>],
    map: impl Fn(&Row<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    execute(|| relation.register(), sql, args, |table| table.map(|tuple| map(&Row(tuple))).collect())
}

/// Runs a statement whose rows do not matter, and returns their number.
pub fn run(sql: &'static str, args: &[DatumWithOid<'_>]) -> Result<usize, Error> {
    execute(|| (), sql, args, |table| Ok(table.len()))
}

/// The same for a statement that reads a table of the caller.
pub fn run_from<R>(relation: &NamedRelation<R>, sql: &'static str) -> Result<usize, Error> {
    execute(|| relation.register(), sql, &[], |table| Ok(table.len()))
}

/// Always runs it as a statement that may write. A read-only one would use the snapshot of the calling query, which was
/// taken before this transaction waited for its turn.
fn execute<T>(
    prepare: impl FnOnce(),
    sql: &'static str,
    args: &[DatumWithOid<'_>],
    read: impl FnOnce(SpiTupleTable<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    Spi::connect_mut(|client| {
        prepare();
        PLANS.with_borrow_mut(|plans| {
            let executions = plans.get(sql).map_or(0, |plan| plan.executions) + 1;
            let stale = |plan: &Plan| executions <= YOUNG || plan.made.elapsed() > PLAN_LIFE;
            if plans.get(sql).is_none_or(stale) {
                let types: Vec<PgOid> = args.iter().map(|arg| PgOid::from(arg.oid())).collect();
                let statement = client.prepare_mut(sql, &types)?.keep();
                plans.insert(sql, Plan { statement, made: Instant::now(), executions });
            }
            let plan = plans.get_mut(sql).expect("it is there now");
            plan.executions = executions;
            // A kept plan derefs to a plan that lives as long as this connection.
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
