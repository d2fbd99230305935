//! What a session delivers to its peer at once.

use uuid::Uuid;

use crate::message::{ending::Ending, refused::Refused, update::Update};

/// A codec writes the parts in this order.
#[derive(Debug, Default)]
pub struct Delivery {
    /// News of other peers, in the order of arrival.
    pub updates: Vec<Update>,
    /// The ids of reports that are committed.
    pub acknowledged: Vec<Uuid>,
    /// Requests that were not done.
    pub refused: Vec<Refused>,
    /// The session ends after all this.
    pub ending: Option<Ending>,
}

impl Delivery {
    /// Whether there is nothing to deliver.
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.acknowledged.is_empty() && self.refused.is_empty() && self.ending.is_none()
    }
}
