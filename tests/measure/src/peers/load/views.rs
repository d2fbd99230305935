//! What the peers of a load process announced, and what they were told: every node is compared, byte for byte.

use std::collections::VecDeque;

use tailnet_tools::message::{Kind, Message, Update};
use uuid::Uuid;

use crate::{
    common::node::{SMALL, version},
    peers::{
        clock::Moment,
        control::{Hub, Totals, Updated},
    },
};

/// How many wrong things are kept in words.
const KEPT: usize = 10;

/// All peers: partners stand side by side, an agent at an even place and its client at the next.
#[derive(Debug)]
pub struct Views {
    seats: Vec<Seat>,
    /// Peers that were told the newest node of their partners.
    right: usize,
    /// When the last of them was.
    right_since: Moment,
    /// Updates of which the partners were not told yet.
    under_way: usize,
    /// A hub that some of them have a tunnel to.
    hub: Option<Expected>,
    /// Peers whose newest nodes their partners were told; None: nobody wants to know.
    pub heard: Option<Vec<usize>>,
    /// What came of the updates since somebody took it.
    pub updated: Updated,
    /// What happened since the process started.
    pub totals: Totals,
    /// A node that is being made, so that each needs no memory of its own.
    text: String,
}

/// What peers are to be told of a hub.
#[derive(Debug)]
struct Expected {
    hub: Hub,
    id_text: String,
    /// Peers that were.
    right: usize,
    /// When the last of them was.
    since: Moment,
}

/// One peer.
#[derive(Debug)]
struct Seat {
    id: Uuid,
    id_text: String,
    /// The version of the node that it announced last; 0: none yet.
    said: u64,
    /// The version of its partner's node that it was told last; 0: none yet.
    told: u64,
    /// The same of the hub; also 0: the hub is lost.
    told_of_hub: u64,
    /// Its updates of which the partner was not told yet.
    under_way: VecDeque<Due>,
}

/// An update, and when it should have been made.
#[derive(Debug, Clone, Copy)]
struct Due {
    version: u64,
    at: Moment,
    is_measured: bool,
}

/// The partner of a peer.
fn partner(place: usize) -> usize {
    place ^ 1
}

impl Views {
    /// Of peers that have said nothing.
    pub fn new(ids: impl Iterator<Item = Uuid>) -> Self {
        let seat = |id: Uuid| Seat {
            id,
            id_text: id.to_string(),
            said: 0,
            told: 0,
            told_of_hub: 0,
            under_way: VecDeque::new(),
        };
        Self {
            seats: ids.map(seat).collect(),
            right: 0,
            right_since: Moment::now(),
            under_way: 0,
            hub: None,
            heard: None,
            updated: Updated::default(),
            totals: Totals::default(),
            text: String::new(),
        }
    }

    /// Peers that were told the newest node of their partners.
    pub fn right(&self) -> usize {
        self.right
    }

    /// Since when all views are right; None: they are not.
    pub fn all_right_since(&self) -> Option<Moment> {
        (self.right == self.seats.len()).then_some(self.right_since)
    }

    /// Whether every partner was told the updates that were announced.
    pub fn all_heard(&self) -> bool {
        self.under_way == 0
    }

    /// The versions that were announced last.
    pub fn said(&self) -> Vec<u64> {
        self.seats.iter().map(|seat| seat.said).collect()
    }

    /// Peers are told of a hub from now on.
    pub fn expect(&mut self, hub: Hub) {
        let right = self.seats.iter().take(hub.peers).filter(|seat| seat.told_of_hub == hub.version).count();
        self.hub = Some(Expected { hub, id_text: hub.id.to_string(), right, since: Moment::now() });
    }

    /// Since when all of them were told what was expected; None: they were not.
    pub fn hub_right_since(&self) -> Option<Moment> {
        self.hub.as_ref().filter(|expected| expected.right == expected.hub.peers).map(|expected| expected.since)
    }

    /// The id of a peer's partner.
    pub fn partner_id(&self, place: usize) -> Uuid {
        self.seats[partner(place)].id
    }

    /// A peer announces a node: the next one, or the last one again after its websocket ended.
    pub fn announce(&mut self, place: usize, again: bool) {
        if !again || self.seats[place].said == 0 {
            if self.is_right(partner(place)) {
                self.right -= 1;
            }
            self.seats[place].said += 1;
        }
    }

    /// A peer, and the version of the node that it announced last.
    pub fn said_by(&self, place: usize) -> (Uuid, u64) {
        (self.seats[place].id, self.seats[place].said)
    }

    /// What was just announced was due at a moment.
    pub fn was_due(&mut self, place: usize, at: Moment, is_measured: bool) {
        let seat = &mut self.seats[place];
        seat.under_way.push_back(Due { version: seat.said, at, is_measured });
        self.under_way += 1;
        self.updated.due += 1;
        if is_measured {
            self.updated.lateness.push(micros(Moment::now(), at));
        }
    }

    /// A peer's websocket ended: it knows nothing any more.
    pub fn forget(&mut self, place: usize) {
        if self.is_right(place) {
            self.right -= 1;
        }
        self.seats[place].told = 0;
    }

    /// A peer was sent this text.
    pub fn hear(&mut self, place: usize, text: &[u8], now: Moment) {
        let Self { seats, text: node, hub, .. } = self;
        let seat = &seats[partner(place)];
        if let Some(version) = version_in(text, seat.id, &seat.id_text, node) {
            return self.told(place, version, now);
        }
        if let Some(Expected { hub, id_text, .. }) = hub
            && let Some(version) = version_in(text, hub.id, id_text, node)
        {
            return self.told_of_hub(place, version, now);
        }
        self.read(place, text, now);
    }

    /// Anything else: what it says counts, not how.
    fn read(&mut self, place: usize, text: &[u8], now: Moment) {
        let message = std::str::from_utf8(text).map_err(|error| error.to_string());
        match message.and_then(|text| Message::parse(text).map_err(|error| error.to_string())) {
            Ok(Message::Updates(updates)) => updates.into_iter().for_each(|update| self.update(place, update, now)),
            Ok(other) => self.wrong(place, &format!("{other:?}")),
            Err(error) => self.wrong(place, &format!("what is no frame: {error}")),
        }
    }

    fn update(&mut self, place: usize, update: Update, now: Moment) {
        let partner = self.seats[partner(place)].id;
        if let Some(Expected { hub, .. }) = self.hub
            && update.id == hub.id
        {
            // Its nodes are always told in the usual form.
            return match update.kind {
                Kind::Lost => self.told_of_hub(place, 0, now),
                kind => self.wrong(place, &format!("{kind:?} of the hub: {:?}", update.node)),
            };
        }
        match (update.kind, update.node) {
            _ if update.id != partner => self.wrong(place, &format!("{:?} of a stranger, {}", update.kind, update.id)),
            (Kind::Node, Some(told)) => {
                let version = told["id"].as_u64().unwrap_or(0);
                self.text.clear();
                SMALL.write(&mut self.text, partner, version);
                if serde_json::from_str::<serde_json::Value>(&self.text).is_ok_and(|node| node == told) {
                    self.totals.unusual += 1;
                    self.told(place, version, now);
                } else {
                    self.wrong(place, &format!("a node that its partner never announced: {told}"));
                }
            }
            (Kind::Lost, None) => self.totals.lost += 1,
            (Kind::Disconnected, None) => self.totals.disconnected += 1,
            (kind, _) => self.wrong(place, &format!("{kind:?}")),
        }
    }

    fn told(&mut self, place: usize, version: u64, now: Moment) {
        let (said, told) = (self.seats[partner(place)].said, self.seats[place].told);
        self.totals.told += 1;
        if version == 0 || version > said || version < told {
            let what = format!("version {version} of its partner, which announced {said}; it was told {told} before");
            return self.wrong(place, &what);
        }
        if version == told {
            self.totals.repeated += 1;
            return;
        }
        self.seats[place].told = version;
        if version == said {
            self.right += 1;
            self.right_since = now;
            if let Some(heard) = &mut self.heard {
                heard.push(partner(place));
            }
        }
        let Self { seats, under_way, updated, .. } = self;
        while let Some(due) = seats[partner(place)].under_way.pop_front_if(|due| due.version <= version) {
            *under_way -= 1;
            updated.merged += u64::from(due.version < version);
            updated.heard = Some(now);
            if due.is_measured {
                updated.latencies.push(micros(now, due.at));
            }
        }
    }

    fn told_of_hub(&mut self, place: usize, version: u64, now: Moment) {
        let Some(expected) = &mut self.hub else { return };
        if place >= expected.hub.peers || version != expected.hub.version {
            return self.wrong(place, &format!("version {version} of the hub"));
        }
        let told = &mut self.seats[place].told_of_hub;
        if *told != version {
            *told = version;
            expected.right += 1;
            expected.since = now;
        }
    }

    fn is_right(&self, place: usize) -> bool {
        let said = self.seats[partner(place)].said;
        said > 0 && self.seats[place].told == said
    }

    /// A peer was told what is not so.
    pub fn wrong(&mut self, place: usize, what: &str) {
        if self.totals.wrong.len() < KEPT {
            self.totals.wrong.push(format!("peer {} was told {what}", self.seats[place].id_text));
        }
    }
}

/// The version of this peer's node, if the text is what is nearly always sent, and exactly that.
fn version_in(text: &[u8], id: Uuid, id_text: &str, made: &mut String) -> Option<u64> {
    let node = text
        .strip_prefix(br#"{"peer_updates":[{"id":""#)?
        .strip_prefix(id_text.as_bytes())?
        .strip_prefix(br#"","kind":"NODE","node":"#)?
        .strip_suffix(b"}]}")?;
    let version = version(node)?;
    made.clear();
    SMALL.write(made, id, version);
    (made.as_bytes() == node).then_some(version)
}

fn micros(now: Moment, earlier: Moment) -> u32 {
    u32::try_from(now.since(earlier).as_micros()).unwrap_or(u32::MAX)
}

mod responses;
#[cfg(test)]
mod tests;
