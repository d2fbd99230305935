//! The seam between a session and a wire format.
//!
//! A session decides; a codec reads and writes. The session says when it wants to hear asks, and takes updates out of its
//! outbox only while the codec can write them. How a wire format holds a peer back is up to its codec: one with a single
//! stream does not read, one with several streams grants no window to the stream of the asks and goes on reading.

use std::time::Duration;

use crate::message::{Ask, Delivery, Ending, Malformed, Refused};

/// One open connection of a peer, in one wire format.
pub trait Codec: Send + Sized + 'static {
    /// Its name in metrics.
    const PROTOCOL: &'static str;

    /// Waits for what the peer says next. While `asks` is false no ask is returned; the codec may read all the same, to keep
    /// the connection alive.
    ///
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the connection ended, or the peer sent what cannot be read.
    fn hear(&mut self, asks: bool) -> impl Future<Output = Result<Heard, HearError>> + Send;

    /// Whether updates can be written now. While it is false, they wait in the outbox, where they conflate.
    /// [`Codec::hear`] returns when it has become true.
    fn takes_updates(&self) -> bool;

    /// Writes all parts of a delivery but its ending, in their order. Each message may take as long as `patience`.
    ///
    /// # Errors
    /// When the connection ended, or the peer takes nothing.
    fn deliver(
        &mut self,
        delivery: &Delivery,
        patience: Duration,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Tells the peer, which has asked for it, its id and the token with which it comes back as the same peer.
    ///
    /// # Errors
    /// When the connection ended, or the peer takes nothing.
    fn offer_resume(&mut self, token: &str, patience: Duration) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Asks the peer whether it lives, unless it need not be asked yet. A peer that lives is heard. Whether it was asked.
    ///
    /// # Errors
    /// When the connection ended, or the peer takes nothing.
    fn ping(&mut self, patience: Duration) -> impl Future<Output = Result<bool, WriteError>> + Send;

    /// Tells the peer why the session ends, and closes the connection in such a way that the peer sees it. A peer that takes
    /// nothing for `patience` is cut off.
    fn end(self, ending: Ending, patience: Duration) -> impl Future<Output = ()> + Send;

    /// The close code of an ending, for traces.
    fn code(ending: &Ending) -> u16;

    /// The words in which the peer is told of a refusal.
    fn words(refused: &Refused) -> String;
}

/// What a peer said.
#[derive(Debug)]
pub enum Heard {
    /// It asks for these things, in this order.
    Asks(Vec<Ask>),
    /// It lives: it answered a ping, or sent what asks for nothing.
    Life,
    /// Something that asks for nothing.
    Nothing,
}

/// Why nothing more can be heard.
#[derive(Debug)]
pub enum HearError {
    /// The connection ended.
    Gone,
    /// The peer sent what cannot be read.
    Malformed(Malformed),
}

/// Why a message was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteError {
    /// The connection ended.
    Gone,
    /// The peer took nothing for as long as it may.
    Silent,
}
