//! Whether everything that happened to peers in a round follows from what they did and from the faults.
//!
//! The oracle checks that every view is right in the end. This file checks the way there: no websocket ends, and no peer
//! is told LOST or DISCONNECTED, unless a peer or a fault is the cause (B50-B56).

use std::sync::Arc;

use anyhow::{Result, bail};
use tailnet_tools::{
    checking::{
        account::{Account, Closing, Doings},
        oracle::Named,
        received::Parting,
        watched::Watched,
    },
    message::Kind,
};
use uuid::Uuid;

use crate::{
    effects::{Effects, Hit},
    fleet::Fleet,
};

/// At most so many complaints are printed.
const MAX_PRINTED: usize = 15;

/// What B31 tells a peer that was too late with its handshake, in each protocol.
const LATE_HANDSHAKE: [&str; 2] = ["there is no tunnel with it", "you do not share a tunnel with"];

/// Checks everything that happened to the fleet since it last settled.
pub fn judge(fleet: &Fleet, effects: &Effects) -> Result<()> {
    let mut complaints = Vec::new();
    for peer in &fleet.peers {
        judge_peer(fleet, peer, effects, &mut complaints);
    }
    if complaints.is_empty() {
        return Ok(());
    }
    let count = complaints.len();
    complaints.truncate(MAX_PRINTED);
    bail!("{count} events are not explained by {effects:?}:\n{}", complaints.join("\n"))
}

fn judge_peer(fleet: &Fleet, peer: &Arc<Watched>, effects: &Effects, complaints: &mut Vec<String>) {
    let (partings, mut found) = {
        let account = peer.account();
        let doings = &account.doings;
        let closings = doings.closings.iter().filter(|closing| !is_explained(closing, doings, effects));
        let closings = closings.map(|closing| format!("{closing:?}"));
        let errors =
            doings.errors.iter().filter(|error| !LATE_HANDSHAKE.iter().any(|words| error.contains(words))).cloned();
        (account.received.partings.clone(), closings.chain(errors).collect::<Vec<_>>())
    };
    let id = peer.id();
    for parting in partings {
        let own = peer.account().doings.closed.contains(&parting.of);
        let is_due = own && parting.kind == Kind::Disconnected || {
            let partner = fleet.find(parting.of).map(|partner| partner.account());
            partner.is_none_or(|partner| is_due(parting, &partner, id, effects))
        };
        if !is_due {
            let partner = fleet.find(parting.of).map(|partner| partner.account().received.own().join("\n        "));
            let did = partner.unwrap_or_default();
            found.push(format!("told {:?} of {}, which stayed. It did:\n        {did}", parting.kind, parting.of));
        }
    }
    if !found.is_empty() {
        let account = peer.account();
        let text = found.iter().map(|what| format!("    {what}\n")).collect::<String>();
        complaints.push(format!("  {}, on {:?}\n{text}{}", Named(&account), account.proxy, account.received));
    }
}

/// Whether a proxy had to close a websocket like this.
fn is_explained(closing: &Closing, doings: &Doings, effects: &Effects) -> bool {
    let Closing { proxy, code, superseded, .. } = closing;
    match code {
        Some(4001) => *superseded || doings.took_over || doings.abandoned,
        Some(1012) => effects.of(proxy) == Some(Hit::Drained),
        None => effects.of(proxy) == Some(Hit::Killed) || doings.stopped_reading,
        // A goodbye that was not waited for long enough.
        Some(1000) => doings.was_away,
        Some(_) => false,
    }
}

/// Whether this had to be told to `to` about a partner with these books.
fn is_due(parting: Parting, partner: &Account, to: Uuid, effects: &Effects) -> bool {
    let doings = &partner.doings;
    let was_lost = doings.proxies.iter().any(|proxy| effects.of(proxy).is_some());
    let was_forgotten = effects.emptied && (was_lost || doings.was_mute);
    match parting.kind {
        _ if doings.was_away || was_forgotten => true,
        Kind::Lost => was_lost,
        _ => doings.closed.contains(&to),
    }
}

#[cfg(test)]
mod tests {
    use tailnet_tools::identity::TestIdentity;
    use tailnet_wire::Role;

    use super::*;

    const ME: Uuid = Uuid::from_u128(1);

    fn closing(code: Option<u16>) -> Closing {
        Closing { proxy: "p".to_owned(), code, reason: String::new(), superseded: false }
    }

    fn partner(change: impl FnOnce(&mut Doings)) -> Account {
        let id = Uuid::from_u128(2);
        let mut account = Account::new(TestIdentity::new(id, Role::Hub, String::new(), "partner".to_owned()));
        account.doings = Doings { proxies: ["p".to_owned()].into(), ..Doings::default() };
        change(&mut account.doings);
        account
    }

    #[test]
    fn closes_need_their_own_explanation() {
        let none = Doings::default();
        for (effects, explained) in [
            (Effects::default(), None),
            (Effects::hit("p", Hit::Expired), None),
            (Effects::hit("p", Hit::Drained), Some(Some(1012))),
            (Effects::hit("p", Hit::Killed), Some(None)),
            (Effects::hit("q", Hit::Drained), None),
            (Effects::hit("q", Hit::Killed), None),
        ] {
            for code in [None, Some(1000), Some(1008), Some(1012), Some(1013), Some(4001), Some(4003)] {
                let found = is_explained(&closing(code), &none, &effects);
                assert_eq!(found, explained == Some(code), "{code:?} by {effects:?}");
            }
        }
        assert!(is_explained(&Closing { superseded: true, ..closing(Some(4001)) }, &none, &Effects::default()));
        let abandoned = Doings { abandoned: true, ..Doings::default() };
        assert!(is_explained(&closing(Some(4001)), &abandoned, &Effects::default()));
        let paused = Doings { stopped_reading: true, ..Doings::default() };
        assert!(is_explained(&closing(None), &paused, &Effects::default()));
    }

    #[test]
    fn b54_nobody_who_stayed_parts() {
        let due = |kind, partner: &Account, effects: &Effects| {
            is_due(Parting { of: partner.identity.id, kind }, partner, ME, effects)
        };
        let (stayed, none) = (partner(|_| {}), Effects::default());
        for kind in [Kind::Lost, Kind::Disconnected] {
            assert!(!due(kind, &stayed, &none));
            assert!(!due(kind, &stayed, &Effects::emptied()), "a crash of Postgres is no excuse");
            assert!(!due(kind, &stayed, &Effects::hit("q", Hit::Killed)), "it was on another proxy");
            assert!(due(kind, &partner(|doings| doings.was_away = true), &none));
        }
        // B50: a peer of a proxy that dies is lost, and has not left.
        assert!(due(Kind::Lost, &stayed, &Effects::hit("p", Hit::Killed)));
        assert!(!due(Kind::Disconnected, &stayed, &Effects::hit("p", Hit::Killed)));
        let closed = partner(|doings| doings.closed = [ME].into());
        assert!(due(Kind::Disconnected, &closed, &none));
        assert!(!due(Kind::Lost, &closed, &none));
    }
}
