//! Rows that a statement reads as a table: what transition tables are made of. An `unnest` of as many arrays costs several
//! times as much, and is copied into such a table anyway.

use std::{ffi::CStr, ptr, thread};

use pgrx::pg_sys::{self, Datum, Oid};
use uuid::Uuid;

/// Name and type of a column.
pub type Column = (&'static CStr, Oid);

/// A value of a row, of the type that its column has.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// NULL.
    Absent,
    /// A uuid.
    Id(&'a Uuid),
    /// A text.
    Text(&'a str),
    /// Of any other type.
    Datum(Datum),
}

/// A table of its own for one call. Values are copied when a row is pushed.
pub struct Relation<const N: usize> {
    named: Box<pg_sys::EphemeralNamedRelationData>,
    /// The texts of the row that is pushed, as Postgres has them.
    texts: Vec<u64>,
}

impl<const N: usize> Relation<N> {
    /// An empty table.
    pub fn new(name: &'static CStr, columns: &[Column; N]) -> Self {
        let width = i32::try_from(N).expect("Postgres has at most 1,600 columns");
        // SAFETY: both are made in the memory context of the call, as are the names that they are given.
        let (tupdesc, rows) = unsafe {
            let tupdesc = pg_sys::CreateTemplateTupleDesc(width);
            for (number, (name, oid)) in (1..).zip(columns) {
                pg_sys::TupleDescInitEntry(tupdesc, number, name.as_ptr(), *oid, -1, 0);
            }
            (tupdesc, pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem))
        };
        let md = pg_sys::EphemeralNamedRelationMetadataData {
            name: name.as_ptr().cast_mut(),
            reliddesc: pg_sys::InvalidOid,
            tupdesc,
            enrtype: pg_sys::EphemeralNameRelationType::ENR_NAMED_TUPLESTORE,
            enrtuples: 0.0,
        };
        Self { named: Box::new(pg_sys::EphemeralNamedRelationData { md, reldata: rows.cast() }), texts: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: [Value<'_>; N]) {
        let words = |value: &Value<'_>| if let Value::Text(text) = value { words(text) } else { 0 };
        self.texts.clear();
        self.texts.resize(row.iter().map(words).sum(), 0);
        let mut room = self.texts.as_mut_slice();
        let mut nulls = row.map(|value| matches!(value, Value::Absent));
        let mut values = row.map(|value| match value {
            Value::Absent => Datum::null(),
            Value::Id(id) => Datum::from(id.as_bytes().as_ptr()),
            Value::Text(text) => write(text, room.split_off_mut(..words(&value)).expect("there is room for all")),
            Value::Datum(datum) => datum,
        });
        let rows = self.named.reldata.cast();
        // SAFETY: as many values as the descriptor has columns.
        unsafe { pg_sys::tuplestore_putvalues(rows, self.named.md.tupdesc, values.as_mut_ptr(), nulls.as_mut_ptr()) };
        self.named.md.enrtuples += 1.0;
    }
}

const HEADER: usize = pg_sys::VARHDRSZ;

/// Room that a text takes; aligned as Postgres wants it.
fn words(text: &str) -> usize {
    (HEADER + text.len()).div_ceil(size_of::<u64>())
}

/// Writes a text with its header.
fn write(text: &str, room: &mut [u64]) -> Datum {
    let start = room.as_mut_ptr().cast::<u8>();
    // SAFETY: `words` counts both.
    unsafe {
        pgrx::set_varsize_4b(
            start.cast(),
            i32::try_from(HEADER + text.len()).expect("a value has less than a gigabyte"),
        );
        start.add(HEADER).copy_from_nonoverlapping(text.as_ptr(), text.len());
    }
    Datum::from(start)
}

/// What [`crate::statement`] needs of it.
pub trait Named {
    /// Makes it known to the statements of the current SPI connection.
    fn register(&self);
}

impl<const N: usize> Named for Relation<N> {
    fn register(&self) {
        // SAFETY: SPI forgets it with its connection, which ends before the borrow of `self` does.
        let code = unsafe { pg_sys::SPI_register_relation(ptr::from_ref(&*self.named).cast_mut()) };
        assert!(code >= 0, "SPI has no relation of this name yet, and is connected");
    }
}

impl<const N: usize> Drop for Relation<N> {
    fn drop(&mut self) {
        // A transaction that fails takes memory and files with it.
        if !thread::panicking() {
            // SAFETY: no statement runs that reads it.
            unsafe { pg_sys::tuplestore_end(self.named.reldata.cast()) };
        }
    }
}
