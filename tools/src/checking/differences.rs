//! What every peer must have been told follows from the tables and the sessions alone (B09-B12), and the other way
//! round: what peers did and nobody undid must be in the tables.

use uuid::Uuid;

use super::{
    account::Account,
    received::Word,
    truth::{Bound, Truth},
};

/// Something that does not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is about: another peer, for all that it was told.
    pub about: Option<Uuid>,
    /// What must hold.
    pub expected: String,
    /// What holds.
    pub found: String,
}

/// Everything in which the books of a peer and the tables differ.
pub fn differences(truth: &Truth, account: &Account) -> Vec<Difference> {
    let mut found = Vec::new();
    sessions(truth, account, &mut found);
    if account.proxy.is_some() {
        views(truth, account, &mut found);
    }
    found
}

fn sessions(truth: &Truth, account: &Account, differences: &mut Vec<Difference>) {
    let id = account.identity.id;
    let mut differ = |about, expected: String, found: String| differences.push(Difference { about, expected, found });
    if account.wants_socket && account.proxy.is_none() {
        differ(None, "a websocket".to_owned(), "none".to_owned());
    }
    if account.retired > 0 {
        differ(None, "all superseded websockets closed".to_owned(), format!("{} open", account.retired));
    }
    if truth.coordinator(id) != account.proxy.as_deref() {
        let said = |proxy: Option<&str>| proxy.map_or("no session".to_owned(), |proxy| format!("session on {proxy}"));
        differ(None, said(account.proxy.as_deref()), format!("{} in the tables", said(truth.coordinator(id))));
    }
    if let Some(node) = &account.node {
        match truth.binding(id) {
            Some(Bound::Ok(bound)) if account.agrees(bound, node) => {}
            other => {
                differ(None, format!("bound to version {}", node["id"]), format!("{} in the tables", bound(other)))
            }
        }
    }
    for (dst, open) in account.tunnels() {
        if truth.has_tunnel(id, dst) != open {
            let said = |open| if open { "a tunnel to it" } else { "no tunnel to it" };
            differ(Some(dst), said(open).to_owned(), format!("{} in the tables", said(!open)));
        }
    }
}

fn views(truth: &Truth, account: &Account, differences: &mut Vec<Difference>) {
    let (id, received) = (account.identity.id, &account.received);
    let mut differ = |about, expected: String| {
        let found = received.word(about).map_or("nothing".to_owned(), Word::to_string);
        differences.push(Difference { about: Some(about), expected, found: format!("told {found}") });
    };
    for partner in truth.partners(id) {
        let fine = match (truth.binding(partner), received.word(partner)) {
            (Some(Bound::Ok(node)), Some(Word::Node(told))) => account.agrees(node, told),
            (Some(Bound::Ok(_)), _) => false,
            // Who knows nothing of a peer is not told that it is lost.
            (Some(Bound::Lost), word) => !matches!(word, Some(Word::Node(_))),
            (None, word) => matches!(word, None | Some(Word::Disconnected)),
        };
        if !fine {
            differ(partner, bound(truth.binding(partner)));
        }
    }
    for (other, word) in received.words() {
        if *word != Word::Disconnected && !truth.are_partners(id, *other) {
            differ(*other, "DISCONNECTED, or nothing: there is no tunnel".to_owned());
        }
    }
}

fn bound(binding: Option<&Bound>) -> String {
    match binding {
        None => "DISCONNECTED, or nothing: no binding".to_owned(),
        Some(Bound::Lost) => "LOST, or nothing: lost".to_owned(),
        Some(Bound::Ok(node)) => format!("NODE version {}", node["id"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tailnet_wire::Role;

    use super::*;
    use crate::{
        checking::account::Ended,
        identity::TestIdentity,
        message::{Kind, Update},
        websocket::Protocol,
    };

    const ME: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn node(version: u64) -> serde_json::Value {
        json!({"id": version, "as_of": "now"})
    }

    /// A peer on proxy `p` with node 1 and a tunnel to another, which has node 2: all of that told and in the tables.
    fn agreeing() -> (Truth, Account) {
        let identity = TestIdentity::new(ME, Role::Hub, String::new(), "me".to_owned());
        let mut account = Account::new(identity);
        account.wants_socket = true;
        account.connected("p", Protocol::V1);
        account.announced(&node(1));
        account.asked(OTHER, true);
        tell(&mut account, Kind::Node, Some(node(2)));
        let mut truth = Truth::default();
        truth.add_peer(ME, Some("p".to_owned()), Some(Bound::Ok(node(1))));
        truth.add_peer(OTHER, Some("q".to_owned()), Some(Bound::Ok(node(2))));
        truth.add_tunnel(ME, OTHER);
        (truth, account)
    }

    fn tell(account: &mut Account, kind: Kind, node: Option<serde_json::Value>) {
        account.received.push(&Update { id: OTHER, kind, node, reason: None });
    }

    /// What is found after both sides were changed.
    fn found(change: impl FnOnce(&mut Truth, &mut Account)) -> Vec<String> {
        let (mut truth, mut account) = agreeing();
        change(&mut truth, &mut account);
        let said = |difference: Difference| format!("{}; {}", difference.expected, difference.found);
        differences(&truth, &account).into_iter().map(said).collect()
    }

    #[test]
    fn what_agrees_does_not_differ() {
        assert_eq!(found(|_, _| {}), [""; 0]);
        assert_eq!(found(|truth, _| truth.add_peer(ME, Some("p".into()), Some(Bound::Ok(json!({"id": 1}))))), [""; 0]);
        for told in [Kind::Lost, Kind::Disconnected] {
            assert_eq!(
                found(|truth, account| {
                    truth.add_peer(OTHER, None, Some(Bound::Lost));
                    tell(account, told, None);
                }),
                [""; 0]
            );
        }
    }

    #[test]
    fn sessions_that_differ() {
        assert_eq!(
            found(|truth, _| truth.add_peer(ME, Some("q".into()), Some(Bound::Ok(node(1))))),
            ["session on p; session on q in the tables"]
        );
        assert_eq!(
            found(|_, account| account.ended(Ended::Lost)),
            ["a websocket; none", "no session; session on p in the tables"]
        );
        assert_eq!(found(|_, account| account.retired = 1), ["all superseded websockets closed; 1 open"]);
    }

    #[test]
    fn bindings_that_differ() {
        for (binding, said) in [
            (Some(Bound::Ok(node(7))), "NODE version 7"),
            (Some(Bound::Lost), "LOST, or nothing: lost"),
            (None, "DISCONNECTED, or nothing: no binding"),
        ] {
            assert_eq!(
                found(|truth, _| truth.add_peer(ME, Some("p".into()), binding)),
                [format!("bound to version 1; {said} in the tables")]
            );
        }
    }

    #[test]
    fn tunnels_that_differ() {
        let third = Uuid::from_u128(3);
        assert_eq!(found(|_, account| account.asked(third, true)), ["a tunnel to it; no tunnel to it in the tables"]);
        assert_eq!(found(|_, account| account.asked(OTHER, false)), ["no tunnel to it; a tunnel to it in the tables"]);
    }

    #[test]
    fn views_that_differ() {
        let other = |binding| move |truth: &mut Truth, _: &mut Account| truth.add_peer(OTHER, None, binding);
        assert_eq!(found(other(Some(Bound::Ok(node(3))))), ["NODE version 3; told NODE version 2"]);
        assert_eq!(found(other(Some(Bound::Lost))), ["LOST, or nothing: lost; told NODE version 2"]);
        assert_eq!(found(other(None)), ["DISCONNECTED, or nothing: no binding; told NODE version 2"]);
        assert_eq!(found(|_, account| tell(account, Kind::Lost, None)), ["NODE version 2; told LOST"]);
        assert_eq!(found(|_, account| account.received.begin()), ["NODE version 2; told nothing"]);
        assert_eq!(
            found(|truth, account| {
                truth.add_peer(OTHER, None, None);
                tell(account, Kind::Lost, None);
            }),
            ["DISCONNECTED, or nothing: no binding; told LOST"]
        );
    }

    #[test]
    fn a_view_of_a_peer_without_a_tunnel_differs() {
        let (_, account) = agreeing();
        let mut truth = Truth::default();
        truth.add_peer(ME, Some("p".to_owned()), Some(Bound::Ok(node(1))));
        let found: Vec<_> = differences(&truth, &account).into_iter().map(|difference| difference.expected).collect();
        assert_eq!(found, ["a tunnel to it", "DISCONNECTED, or nothing: there is no tunnel"]);
    }
}
