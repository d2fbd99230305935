//! How many bytes one peer has moved.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::metrics::Bytes;

/// Counts for the peer and for all of its role. Says at its end, whatever that is, how many there were.
#[derive(Debug)]
pub struct Tally {
    /// That of the peer.
    span: tracing::Span,
    read: AtomicU64,
    written: AtomicU64,
    all: Bytes,
}

impl Tally {
    /// Nothing yet.
    pub fn new(span: tracing::Span, all: Bytes) -> Self {
        Self { span, read: AtomicU64::new(0), written: AtomicU64::new(0), all }
    }

    /// The peer has read and written so many so far.
    pub fn moved(&self, read: u64, written: u64) {
        self.all.read.inc_by(read - self.read.swap(read, Relaxed));
        self.all.written.inc_by(written - self.written.swap(written, Relaxed));
    }

    /// How many it has read.
    pub fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// How many it has written.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.span
            .in_scope(|| tracing::info!(bytes_read = self.read(), bytes_written = self.written(), "traffic summary"));
    }
}
