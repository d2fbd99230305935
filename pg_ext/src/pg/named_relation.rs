//! Rows that a statement reads as a table. Triggers read their transition tables in the same way.
//!
//! An `unnest` of one array for each column costs several times as much, and Postgres copies it into such a table anyway.

#![expect(unsafe_code, reason = "builds a tuplestore of Postgres")]

use std::{ffi::CStr, ptr, thread};

use pgrx::pg_sys::{self, Datum, Oid};
use uuid::Uuid;

use crate::pg::input::Inet;

/// A column: its name, its type, and how its value is taken from a row. As the three stand together, a column cannot get
/// the value of another one, nor a value of another type.
pub struct Column<R> {
    name: &'static CStr,
    value: Getter<R>,
}

/// Takes a value from a row; None is NULL. The variant is the type of the column.
enum Getter<R> {
    Uuid(for<'a> fn(&'a R) -> Option<&'a Uuid>),
    Text(for<'a> fn(&'a R) -> Option<&'a str>),
    Json(for<'a> fn(&'a R) -> Option<&'a str>),
    Int4(fn(&R) -> Option<i32>),
    Int8(fn(&R) -> Option<i64>),
    Inet(fn(&R) -> Option<Inet>),
    Timestamptz(fn(&R) -> Option<i64>),
}

impl<R> Column<R> {
    pub const fn uuid(name: &'static CStr, get: for<'a> fn(&'a R) -> Option<&'a Uuid>) -> Self {
        Self { name, value: Getter::Uuid(get) }
    }

    pub const fn text(name: &'static CStr, get: for<'a> fn(&'a R) -> Option<&'a str>) -> Self {
        Self { name, value: Getter::Text(get) }
    }

    /// A text that is JSON. Postgres does not check it again.
    pub const fn json(name: &'static CStr, get: for<'a> fn(&'a R) -> Option<&'a str>) -> Self {
        Self { name, value: Getter::Json(get) }
    }

    pub const fn int4(name: &'static CStr, get: fn(&R) -> Option<i32>) -> Self {
        Self { name, value: Getter::Int4(get) }
    }

    pub const fn int8(name: &'static CStr, get: fn(&R) -> Option<i64>) -> Self {
        Self { name, value: Getter::Int8(get) }
    }

    pub const fn inet(name: &'static CStr, get: fn(&R) -> Option<Inet>) -> Self {
        Self { name, value: Getter::Inet(get) }
    }

    /// Microseconds since 2000.
    pub const fn timestamptz(name: &'static CStr, get: fn(&R) -> Option<i64>) -> Self {
        Self { name, value: Getter::Timestamptz(get) }
    }

    fn oid(&self) -> Oid {
        match self.value {
            Getter::Uuid(_) => pg_sys::UUIDOID,
            Getter::Text(_) => pg_sys::TEXTOID,
            Getter::Json(_) => pg_sys::JSONOID,
            Getter::Int4(_) => pg_sys::INT4OID,
            Getter::Int8(_) => pg_sys::INT8OID,
            Getter::Inet(_) => pg_sys::INETOID,
            Getter::Timestamptz(_) => pg_sys::TIMESTAMPTZOID,
        }
    }
}

/// A table that exists for one call. Its rows are copied when they are pushed.
pub struct NamedRelation<R: 'static> {
    columns: &'static [Column<R>],
    named: Box<pg_sys::EphemeralNamedRelationData>,
    row: RowBuffer,
}

/// Room for the row that is being pushed.
#[derive(Default)]
struct RowBuffer {
    values: Vec<Datum>,
    nulls: Vec<bool>,
    texts: Vec<u64>,
    /// Column and place in `texts`. The values point there once all texts are written, because `texts` moves as it grows.
    places: Vec<(usize, usize)>,
}

impl<R> NamedRelation<R> {
    /// A table with these rows.
    pub fn new<'a>(name: &'static CStr, columns: &'static [Column<R>], rows: impl IntoIterator<Item = &'a R>) -> Self {
        let width = i32::try_from(columns.len()).expect("Postgres has at most 1,600 columns");
        // SAFETY: both are made in the memory context of the call, and Postgres copies the names.
        let (tupdesc, store) = unsafe {
            let tupdesc = pg_sys::CreateTemplateTupleDesc(width);
            for (number, column) in (1..).zip(columns) {
                pg_sys::TupleDescInitEntry(tupdesc, number, column.name.as_ptr(), column.oid(), -1, 0);
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
        let named = Box::new(pg_sys::EphemeralNamedRelationData { md, reldata: store.cast() });
        let mut relation = Self { columns, named, row: RowBuffer::default() };
        for row in rows {
            relation.push(row);
        }
        relation
    }

    fn push(&mut self, row: &R) {
        self.row.fill(self.columns, row);
        let (values, nulls) = (self.row.values.as_mut_ptr(), self.row.nulls.as_mut_ptr());
        // SAFETY: there are as many values as columns, each of the type of its column.
        unsafe {
            pg_sys::tuplestore_putvalues(self.named.reldata.cast(), self.named.md.tupdesc, values, nulls);
        }
        self.named.md.enrtuples += 1.0;
    }

    /// Makes the table known to the statements of the current SPI connection.
    pub(super) fn register(&self) {
        // SAFETY: SPI forgets the table when its connection ends, which is before the borrow of `self` ends.
        let code = unsafe { pg_sys::SPI_register_relation(ptr::from_ref(&*self.named).cast_mut()) };
        assert!(code >= 0, "SPI is connected, and has no table of this name yet");
    }
}

impl<R> Drop for NamedRelation<R> {
    fn drop(&mut self) {
        // A transaction that fails frees its memory and files itself.
        if !thread::panicking() {
            // SAFETY: no statement that reads it still runs.
            unsafe { pg_sys::tuplestore_end(self.named.reldata.cast()) };
        }
    }
}

impl RowBuffer {
    fn fill<R>(&mut self, columns: &[Column<R>], row: &R) {
        self.values.clear();
        self.nulls.clear();
        self.texts.clear();
        for column in columns {
            let value = match column.value {
                Getter::Uuid(get) => get(row).map(|id| Datum::from(id.as_bytes().as_ptr())),
                Getter::Text(get) | Getter::Json(get) => get(row).map(|text| self.write(text)),
                Getter::Int4(get) => get(row).map(Datum::from),
                Getter::Int8(get) | Getter::Timestamptz(get) => get(row).map(Datum::from),
                Getter::Inet(get) => get(row).map(Inet::datum),
            };
            self.nulls.push(value.is_none());
            self.values.push(value.unwrap_or(Datum::null()));
        }
        for (column, start) in self.places.drain(..) {
            self.values[column] = Datum::from(self.texts[start..].as_ptr());
        }
    }

    /// Writes a text with its header into `texts`, whose words are aligned as Postgres wants it.
    fn write(&mut self, text: &str) -> Datum {
        const HEADER: usize = pg_sys::VARHDRSZ;
        let (start, bytes) = (self.texts.len(), HEADER + text.len());
        self.texts.resize(start + bytes.div_ceil(size_of::<u64>()), 0);
        self.places.push((self.values.len(), start));
        let room = self.texts[start..].as_mut_ptr().cast::<u8>();
        // SAFETY: there is room for the header and the text.
        unsafe {
            pgrx::set_varsize_4b(room.cast(), i32::try_from(bytes).expect("a value has less than a gigabyte"));
            room.add(HEADER).copy_from_nonoverlapping(text.as_ptr(), text.len());
        }
        Datum::null()
    }
}
