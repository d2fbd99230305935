//! What was measured with peers of both protocols.

use crate::{
    common::{
        figure::{Figure, grouped},
        table::table,
    },
    peers::protocols::{Both, Side},
};

/// P19 and P20, and P5 and P10 of v2.
pub fn write(text: &mut String, rounds: &[Both]) {
    let Some(first) = rounds.first() else { return };
    *text += &format!(
        "
### tailnet v2 beside JSON

{} peers on two proxies that speak tailnet v2, and as many that speak JSON: each in a database of its own, one after the other,
and who is first changes from round to round. A v2 peer has two streams open, Coordinate and StreamDERPMaps, and sends a ping
every 30 s, as Go programs do; the proxy pings JSON peers every 15 s, and v2 peers only when they are silent.

",
        grouped(first.v2.storm.peers as f64, 0)
    );
    let row = |what: &str, digits, of: fn(&Side) -> f64| {
        let shown =
            |value: &dyn Fn(&Both) -> f64, digits| Figure::over(rounds, value).map(|figure| figure.brief(digits));
        [
            what.to_owned(),
            shown(&|both| of(&both.v1), digits).unwrap_or_default(),
            shown(&|both| of(&both.v2), digits).unwrap_or_default(),
            shown(&|both| both.ratio(of), 2).unwrap_or_default(),
        ]
    };
    let rows = [
        row("all connect at once, until every view is right, s", 2, |side| side.storm.seconds),
        row("CPU of both proxies until then, s", 2, Side::storm_cpu),
        row("SQL statements a peer", 3, |side| side.storm.statements_a_peer),
        row("resident memory of a proxy for each peer, KiB", 1, |side| side.memory.most_a_peer() / 1024.0),
        row("CPU of both proxies at rest, % of a core", 1, Side::idle_share),
        row("updates a second, each peer one in flight", 0, |side| side.saturated.told_per_second),
        row("SQL statements for each of them", 4, |side| side.saturated.statements_an_update),
    ];
    *text += &table(["", "JSON", "v2", "v2 ÷ JSON"], rows);
}
