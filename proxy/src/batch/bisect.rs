//! Finds the one bad entry of a batch, so that it disturbs no other.

use std::collections::VecDeque;

/// What a failed call means for its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was done. The call can be tried again.
    Retry,
    /// Nothing was done, and the same call will never succeed: an entry of the batch is bad.
    Refused,
    /// Nothing was done: the registration is not current.
    Unregistered,
    /// It may have been done, or may still be done later.
    Unknown,
}

/// The error of a call.
pub trait CallError {
    /// What it means for the batch.
    fn failure(&self) -> Failure;

    /// What Postgres said, for the peer whose entry is bad.
    fn reason(&self) -> String;
}

/// A batch on its way to Postgres: in one piece, unless Postgres refuses that.
#[derive(Debug)]
pub struct Bisect<E, X> {
    chunks: VecDeque<Vec<E>>,
    /// What was committed.
    pub done: Vec<E>,
    /// What Postgres will never take, and why.
    pub refused: Vec<(E, String)>,
    /// What is to be tried again.
    pub failed: Vec<E>,
    /// Why it failed.
    pub error: Option<X>,
}

impl<E, X: CallError> Bisect<E, X> {
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
    pub fn tell(&mut self, mut chunk: Vec<E>, outcome: Result<(), X>) {
        match outcome {
            Ok(()) => self.done.append(&mut chunk),
            Err(error) if error.failure() == Failure::Refused => {
                let half = chunk.split_off(chunk.len() / 2);
                if chunk.is_empty() {
                    self.refused.extend(half.into_iter().map(|entry| (entry, error.reason())));
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

#[cfg(test)]
mod tests {
    use super::*;

    impl CallError for Failure {
        fn failure(&self) -> Failure {
            *self
        }

        fn reason(&self) -> String {
            "bad".to_owned()
        }
    }

    fn run(entries: usize, call: impl Fn(&[usize]) -> Result<(), Failure>) -> (Bisect<usize, Failure>, usize) {
        let mut bisect = Bisect::new([(0..entries).collect()]);
        let mut calls = 0;
        while let Some(chunk) = bisect.next_chunk() {
            calls += 1;
            let outcome = call(&chunk);
            bisect.tell(chunk, outcome);
        }
        (bisect, calls)
    }

    #[test]
    fn one_bad_entry_is_found_and_all_others_are_done_in_order() {
        let refuse_77 = |chunk: &[usize]| if chunk.contains(&77) { Err(Failure::Refused) } else { Ok(()) };
        let (bisect, calls) = run(500, refuse_77);
        assert_eq!(bisect.refused, [(77, "bad".to_owned())]);
        assert_eq!(bisect.done, (0..500).filter(|entry| *entry != 77).collect::<Vec<_>>());
        assert!(bisect.error.is_none() && calls < 22, "{calls} calls");
    }

    #[test]
    fn another_failure_leaves_the_rest_to_be_tried_again() {
        let call = |chunk: &[usize]| match chunk {
            [0..4, ..] if chunk.len() > 4 => Err(Failure::Refused),
            [0, ..] => Ok(()),
            _ => Err(Failure::Unknown),
        };
        let (bisect, calls) = run(8, call);
        assert_eq!(
            (bisect.done, bisect.failed, bisect.error),
            ((0..4).collect(), (4..8).collect(), Some(Failure::Unknown))
        );
        assert_eq!(calls, 3);
    }

    #[test]
    fn nothing_makes_no_call() {
        assert_eq!(run(0, |_| Err(Failure::Unknown)).1, 0);
    }
}
