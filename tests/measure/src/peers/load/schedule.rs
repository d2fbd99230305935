//! When which peer announces a node. The load is open: that follows from the rate alone, not from any answer.

use std::time::Duration;

use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::peers::{clock::Moment, control::Update};

/// A steady load, and how much of it is done.
#[derive(Debug)]
pub struct Schedule {
    update: Update,
    order: Vec<usize>,
    /// Updates that were due already.
    done: u64,
}

/// An update that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    pub place: usize,
    pub at: Moment,
    pub is_measured: bool,
}

impl Schedule {
    /// For so many peers, in an order that follows from the seed.
    pub fn new(update: Update, peers: usize) -> Self {
        let mut order: Vec<_> = (0..peers).collect();
        order.shuffle(&mut StdRng::seed_from_u64(update.seed));
        Self { update, order, done: 0 }
    }

    /// When the next is due; None: there is none.
    pub fn at(&self) -> Option<Moment> {
        let seconds = self.done as f64 / self.update.per_second;
        (seconds < self.update.seconds).then(|| self.update.begin.after(Duration::from_secs_f64(seconds)))
    }

    /// The next, if it is due by now.
    pub fn due(&mut self, now: Moment) -> Option<Next> {
        let at = self.at().filter(|at| *at <= now)?;
        let place = self.order[usize::try_from(self.done).expect("fewer than there is memory") % self.order.len()];
        self.done += 1;
        let is_measured = at >= self.update.begin.after(Duration::from_secs_f64(self.update.unmeasured_seconds));
        Some(Next { place, at, is_measured })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_and_what_is_late_is_not_left_out() {
        let begin = Moment::now();
        let update = Update { per_second: 10.0, begin, seconds: 2.0, unmeasured_seconds: 0.5, seed: 1 };
        let mut schedule = Schedule::new(update, 4);
        assert_eq!(schedule.due(begin).map(|next| next.at), Some(begin));
        assert_eq!(schedule.due(begin), None);
        let late = begin.after(Duration::from_secs(60));
        let rest: Vec<_> = std::iter::from_fn(|| schedule.due(late)).collect();
        assert_eq!((rest.len(), schedule.at()), (19, None));
        assert_eq!(rest[0].at, begin.after(Duration::from_millis(100)));
        assert_eq!(rest.iter().filter(|next| next.is_measured).count(), 15);
        let mut places: Vec<_> = rest[3..7].iter().map(|next| next.place).collect();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3]);
    }
}
