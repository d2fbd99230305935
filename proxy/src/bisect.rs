//! Finds the one bad entry of a batch, so that it disturbs no other.

use std::collections::VecDeque;

use crate::store::{Fault, StoreError};

/// A batch on its way to Postgres: in one piece, unless Postgres refuses that.
#[derive(Debug)]
pub struct Bisect<E> {
    chunks: VecDeque<Vec<E>>,
    /// What was committed.
    pub done: Vec<E>,
    /// What Postgres will never take, and why.
    pub refused: Vec<(E, String)>,
    /// What is to be tried again.
    pub failed: Vec<E>,
    /// Why it failed.
    pub error: Option<StoreError>,
}

impl<E> Bisect<E> {
    /// Begins with these calls.
    pub fn new(chunks: impl IntoIterator<Item = Vec<E>>) -> Self {
        let chunks = chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect();
        Self { chunks, done: Vec::new(), refused: Vec::new(), failed: Vec::new(), error: None }
    }

    /// The entries of the next call; tell the outcome with [`Bisect::tell`].
    pub fn next_chunk(&mut self) -> Option<Vec<E>> {
        self.chunks.pop_front()
    }

    /// The outcome of a call.
    pub fn tell(&mut self, mut chunk: Vec<E>, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => self.done.append(&mut chunk),
            Err(error) if error.fault() == Fault::Refused => {
                let half = chunk.split_off(chunk.len() / 2);
                if chunk.is_empty() {
                    self.refused.extend(half.into_iter().map(|entry| (entry, reason(&error))));
                } else {
                    self.chunks.push_front(half);
                    self.chunks.push_front(chunk);
                }
            }
            Err(error) => {
                self.failed.append(&mut chunk);
                self.failed.extend(self.chunks.drain(..).flatten());
                self.error = Some(error);
            }
        }
    }
}

/// What the peer is told: the message of Postgres without its context.
fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Call { source, .. } => {
            source.as_db_error().map_or_else(|| source.to_string(), |e| e.message().to_owned())
        }
        StoreError::Connect(source) => source.to_string(),
    }
}
