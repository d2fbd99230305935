//! The kinds of faults, and which of them comes next.

use std::fmt;

use clap::ValueEnum;
use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};

/// Something that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Kind {
    /// A proxy is killed, and started again.
    ProxyKill,
    /// A proxy is stopped until it has been expired, and goes on.
    ProxyStall,
    /// A proxy is asked to end, and started again.
    ProxyRestart,
    /// Postgres is restarted in good order.
    PostgresFast,
    /// Postgres is stopped like a crash and started again: then its unlogged tables are empty.
    PostgresImmediate,
    /// The first process of Postgres is killed, and Postgres started again.
    PostgresKill,
    /// Postgres is stopped for 30 s, and goes on.
    PostgresStall,
    /// All processes of Postgres are killed, and its standby is promoted.
    Failover,
    /// Postgres ends the LISTEN connection of a proxy.
    ListenerEnd,
    /// Postgres ends all connections of a proxy.
    BackendsEnd,
    /// What a proxy and Postgres send each other is kept back, for less than the time of an expiry.
    RelayStall,
    /// What a proxy and Postgres send each other is kept back until the proxy has been expired.
    RelayStallLong,
    /// What a proxy and Postgres send each other is late.
    RelayDelay,
    /// A proxy cannot reach Postgres, for less than the time of an expiry.
    RelayCut,
    /// A proxy cannot reach Postgres until the proxy has been expired.
    RelayCutLong,
    /// Some peers stop reading for a while.
    ReadersPause,
}

/// Two faults come at once in one of so many rounds.
const TWO_IN: u32 = 4;

/// The long stall of Postgres comes once in so many decks.
const STALL_IN: u32 = 3;

impl Kind {
    /// Whether it happens to Postgres itself.
    pub fn is_of_postgres(self) -> bool {
        use Kind::{Failover, PostgresFast, PostgresImmediate, PostgresKill, PostgresStall};
        matches!(self, PostgresFast | PostgresImmediate | PostgresKill | PostgresStall | Failover)
    }

    /// Whether two faults can be injected at once. A proxy that is started while Postgres is away for long would not
    /// become ready in time.
    fn goes_with(self, other: Self) -> bool {
        let kinds = [self, other];
        !kinds.contains(&Self::PostgresStall) && !kinds.into_iter().all(Self::is_of_postgres)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("no kind is hidden").get_name())
    }
}

/// Deals the faults: each kind once, then all again in another order.
#[derive(Debug)]
pub struct Deck {
    kinds: Vec<Kind>,
    left: Vec<Kind>,
    decks: u32,
}

impl Deck {
    /// A deck of these kinds.
    pub fn new(kinds: Vec<Kind>) -> Self {
        Self { kinds, left: Vec::new(), decks: 0 }
    }

    /// The fault of the next round, or two that come at once.
    pub fn deal(&mut self, rng: &mut StdRng) -> Vec<Kind> {
        let mut dealt = vec![self.draw(rng)];
        if rng.random_range(0..TWO_IN) == 0 {
            let second = self.draw(rng);
            match dealt[0].goes_with(second) {
                true => dealt.push(second),
                false => self.left.push(second),
            }
        }
        dealt
    }

    fn draw(&mut self, rng: &mut StdRng) -> Kind {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
            // The first deck has it, if it is wanted at all.
            if !self.decks.is_multiple_of(STALL_IN) && self.kinds.len() > 1 {
                self.left.retain(|kind| *kind != Kind::PostgresStall);
            }
            self.left.shuffle(rng);
            self.decks += 1;
        }
        self.left.pop().expect("a deck has a kind")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn every_kind_is_dealt_and_the_seed_decides() {
        let deal = |seed| {
            let (mut deck, mut rng) = (Deck::new(Kind::value_variants().to_vec()), StdRng::seed_from_u64(seed));
            (0..20).flat_map(|_| deck.deal(&mut rng)).collect::<Vec<_>>()
        };
        assert!(Kind::value_variants().iter().all(|kind| deal(1).contains(kind)));
        assert_eq!(deal(1), deal(1));
        assert_ne!(deal(1), deal(2));
    }
}
