//! What one websocket was told of other peers: the last word about each, and whether each word could follow the one
//! before.
//!
//! Unlike the `TestPeer` of the harness this keeps no history to be matched with expectations, so it serves thousands
//! of peers for hours: memory grows with partners, not with updates.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    time::Instant,
};

use serde_json::Value;
use uuid::Uuid;

use crate::message::{Kind, Update};

/// How much is kept for diagnostics.
const RECENT: usize = 48;

/// Marks what the peer did.
const OWN: &str = "-- ";

/// The last that was said of a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// Its node, see [`without_time`].
    Node(Value),
    /// That it was lost.
    Lost,
    /// That it left.
    Disconnected,
}

/// LOST or DISCONNECTED was told. Whether it was due is known only with what the other peers did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting {
    /// About whom.
    pub of: Uuid,
    /// Which of the two.
    pub kind: Kind,
}

/// Called with each update as it arrives, for who measures how long it took.
pub struct Hook(pub Box<dyn Fn(&Update) + Send>);

/// What arrived on the websocket of one peer.
#[derive(Debug, Default)]
pub struct Received {
    words: HashMap<Uuid, Word>,
    recent: VecDeque<(Instant, String)>,
    /// Updates that no order of events explains.
    pub faults: Vec<String>,
    /// Since they were last taken.
    pub partings: Vec<Parting>,
    /// How many updates there were, over all websockets.
    pub updates: u64,
    /// Somebody measures.
    pub hook: Option<Hook>,
}

impl Received {
    /// A websocket begins, which knows nothing yet.
    pub fn begin(&mut self) {
        self.words = HashMap::new();
    }

    /// Adds an update of the current websocket, and checks that it says something new (B09).
    pub fn push(&mut self, update: &Update) {
        let Update { id, kind, node, .. } = update;
        self.updates += 1;
        if let Some(Hook(hook)) = &self.hook {
            hook(update);
        }
        let version = node.as_ref().map(|node| format!(" version {}", node["id"])).unwrap_or_default();
        self.note(format!("{kind:?} {id}{version}"));
        let word = match (kind, node) {
            (Kind::Node, Some(node)) => Word::Node(without_time(node)),
            (Kind::Lost, None) => Word::Lost,
            (Kind::Disconnected, None) => Word::Disconnected,
            (Kind::ReadyForHandshake, None) => return,
            _ => return self.faults.push(format!("{kind:?} of {id} with a node, or NODE without one")),
        };
        if matches!(word, Word::Lost | Word::Disconnected) {
            self.partings.push(Parting { of: *id, kind: *kind });
        }
        match (self.words.get(id), &word) {
            (Some(before), now) if before == now => {
                self.faults.push(format!("{kind:?} of {id}{version} twice without a change"));
            }
            (None | Some(Word::Disconnected), Word::Lost | Word::Disconnected) => {
                self.faults.push(format!("{kind:?} of {id}, of which nothing was seen"));
            }
            _ => {}
        }
        self.words.insert(*id, word);
    }

    /// The peer did something, which helps to understand the updates around it.
    pub fn did(&mut self, text: &str) {
        self.note(format!("{OWN}{text}"));
    }

    fn note(&mut self, text: String) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((Instant::now(), text));
    }

    /// The most recent of what the peer itself did.
    pub fn own(&self) -> Vec<String> {
        let own = self.recent.iter().filter(|(_, text)| text.starts_with(OWN));
        own.map(|(at, text)| format!("{:8.3} s ago: {text}", at.elapsed().as_secs_f64())).collect()
    }

    /// The last word about a peer.
    pub fn word(&self, id: Uuid) -> Option<&Word> {
        self.words.get(&id)
    }

    /// All last words.
    pub fn words(&self) -> impl ExactSizeIterator<Item = (&Uuid, &Word)> {
        self.words.iter()
    }
}

/// A node without the time at which it was made, which is no part of what it says.
#[must_use]
pub fn without_time(node: &Value) -> Value {
    let mut node = node.clone();
    if let Some(fields) = node.as_object_mut() {
        fields.remove("as_of");
    }
    node
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "NODE version {}", node["id"]),
            Self::Lost => write!(f, "LOST"),
            Self::Disconnected => write!(f, "DISCONNECTED"),
        }
    }
}

/// The most recent that arrived, with its age.
impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, text) in &self.recent {
            writeln!(f, "    {:8.3} s ago: {text}", at.elapsed().as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn node(version: u64) -> (Kind, Option<Value>) {
        (Kind::Node, Some(json!({"id": version, "as_of": version.to_string()})))
    }

    const LOST: (Kind, Option<Value>) = (Kind::Lost, None);
    const GONE: (Kind, Option<Value>) = (Kind::Disconnected, None);

    fn faults(updates: &[(Kind, Option<Value>)]) -> Vec<String> {
        let mut received = Received::default();
        received.begin();
        for (kind, node) in updates {
            received.push(&Update { id: ID, kind: *kind, node: node.clone(), reason: None });
        }
        received.faults
    }

    #[test]
    fn what_says_something_new_is_fine() {
        let fine = [node(1), node(2), LOST, node(2), GONE, node(2), (Kind::ReadyForHandshake, None), LOST, GONE];
        assert_eq!(faults(&fine), Vec::<String>::new());
    }

    #[test]
    fn b09_what_says_nothing_new_is_a_fault() {
        let aged = (Kind::Node, Some(json!({"id": 1, "as_of": "another"})));
        let wrong: [&[(Kind, Option<Value>)]; 7] = [
            &[node(1), node(1)],
            &[node(1), aged],
            &[node(1), LOST, LOST],
            &[LOST],
            &[GONE],
            &[node(1), GONE, LOST],
            &[node(1), GONE, GONE],
        ];
        for updates in wrong {
            assert_eq!(faults(updates).len(), 1, "{updates:?}");
        }
        assert_eq!(faults(&[(Kind::Node, None)]).len(), 1);
    }
}
