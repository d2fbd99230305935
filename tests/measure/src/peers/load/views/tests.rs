use std::time::Duration;

use super::*;

const AGENT: usize = 0;
const CLIENT: usize = 1;

fn views() -> Views {
    Views::new((1..=2).map(Uuid::from_u128))
}

/// The frame that tells a node.
fn frame(id: u128, version: u64) -> String {
    let mut text = String::new();
    SMALL.write(&mut text, Uuid::from_u128(id), version);
    format!(r#"{{"peer_updates":[{{"id":"{}","kind":"NODE","node":{text}}}]}}"#, Uuid::from_u128(id))
}

fn hear(views: &mut Views, place: usize, text: &str) {
    views.hear(place, text.as_bytes(), Moment::now());
}

#[test]
fn all_is_right_when_both_were_told_the_newest() {
    let mut views = views();
    views.announce(AGENT, false);
    views.announce(CLIENT, false);
    hear(&mut views, CLIENT, &frame(1, 1));
    assert_eq!((views.right(), views.all_right_since()), (1, None));
    hear(&mut views, AGENT, &frame(2, 1));
    assert!(views.all_right_since().is_some());
    views.announce(AGENT, false);
    assert_eq!(views.said_by(AGENT).1, 2);
    assert_eq!(views.right(), 1);
    hear(&mut views, CLIENT, &frame(1, 2));
    assert!(views.all_right_since().is_some());
    assert_eq!(views.totals, Totals { told: 3, ..Totals::default() });
}

#[test]
fn an_update_counts_from_when_it_was_due() {
    let mut views = views();
    let due = Moment::now();
    for _ in 0..3 {
        views.announce(AGENT, false);
        views.was_due(AGENT, due, true);
    }
    assert!(!views.all_heard());
    views.hear(CLIENT, frame(1, 2).as_bytes(), due.after(Duration::from_millis(3)));
    views.hear(CLIENT, frame(1, 3).as_bytes(), due.after(Duration::from_millis(5)));
    assert!(views.all_heard());
    assert_eq!((views.updated.latencies.as_slice(), views.updated.merged), ([3000, 3000, 5000].as_slice(), 1));
    assert_eq!((views.updated.due, views.updated.lateness.len()), (3, 3));
}

#[test]
fn whatever_is_not_so_is_noticed() {
    let node = frame(1, 1);
    for (text, named) in [
        (frame(3, 1), "stranger"),
        (frame(1, 2), "version 2"),
        (node.replace("41641", "41642"), "never announced"),
        (node.replace("}]}", "}],\"x\":1}"), "no frame"),
        (r#"{"error":"no"}"#.to_owned(), "no"),
    ] {
        let mut views = views();
        views.announce(AGENT, false);
        hear(&mut views, CLIENT, &text);
        assert!(views.totals.wrong[0].contains(named), "{:?}", views.totals);
        assert_eq!(views.right(), 0);
    }
}

#[test]
fn another_spelling_of_the_truth_is_right_and_an_old_version_is_not() {
    let mut views = views();
    views.announce(AGENT, false);
    views.announce(AGENT, false);
    hear(&mut views, CLIENT, &frame(1, 2).replace(r#""kind":"#, r#" "kind": "#));
    assert_eq!((views.right(), views.totals.unusual), (1, 1));
    hear(&mut views, CLIENT, &frame(1, 2));
    assert_eq!(views.totals.repeated, 1);
    hear(&mut views, CLIENT, &frame(1, 1));
    assert!(views.totals.wrong[0].contains("version 1"));
    for kind in ["LOST", "DISCONNECTED"] {
        let text = format!(r#"{{"peer_updates":[{{"id":"{}","kind":"{kind}","reason":"r"}}]}}"#, Uuid::from_u128(1));
        hear(&mut views, CLIENT, &text);
    }
    assert_eq!((views.totals.lost, views.totals.disconnected), (1, 1));
}

#[test]
fn a_hub_is_told_to_those_that_have_a_tunnel_to_it() {
    let mut views = views();
    let hub = |version| Hub { id: Uuid::from_u128(9), peers: 1, version };
    let lost = format!(r#"{{"peer_updates":[{{"id":"{}","kind":"LOST","reason":"r"}}]}}"#, Uuid::from_u128(9));
    views.expect(hub(1));
    assert!(views.hub_right_since().is_none());
    hear(&mut views, AGENT, &frame(9, 1));
    assert!(views.hub_right_since().is_some());
    views.expect(hub(0));
    assert!(views.hub_right_since().is_none());
    hear(&mut views, AGENT, &lost);
    assert!(views.hub_right_since().is_some());
    assert_eq!(views.totals, Totals::default());
    hear(&mut views, CLIENT, &lost);
    hear(&mut views, AGENT, &frame(9, 3));
    assert_eq!(views.totals.wrong.len(), 2, "{:?}", views.totals);
}

#[test]
fn a_peer_whose_websocket_ended_must_be_told_again() {
    let mut views = views();
    views.announce(AGENT, false);
    hear(&mut views, CLIENT, &frame(1, 1));
    views.forget(CLIENT);
    assert_eq!(views.right(), 0);
    views.announce(AGENT, true);
    assert_eq!(views.said_by(AGENT).1, 1);
    hear(&mut views, CLIENT, &frame(1, 1));
    assert_eq!((views.right(), views.totals.repeated), (1, 0));
}
