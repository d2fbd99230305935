//! What was measured at the database, without proxies.

use std::fmt::Write as _;

use crate::{
    common::{figure::grouped, table::table},
    engines::{fan_out::FanOut, hub::Hub, report::Report, size::Size},
};

/// P3, P4, P6 and P7.
pub fn write(text: &mut String, engines: &Report) {
    if let Some(found) = &engines.fan_out {
        fan_out(text, found);
    }
    if let Some(found) = &engines.size {
        size(text, found);
    }
    if let Some(found) = &engines.hub {
        hub(text, found);
    }
}

fn fan_out(text: &mut String, found: &FanOut) {
    let _ = write!(
        text,
        "\n### At the database: against the prior design, and against itself

`tailnet-bench engines`, without websockets: {} peers over {} coordinators. The prior design is one upsert and one notification on a
global channel a change; every replica hears every change, and looks up tunnels and bindings in batches of up to 50.

",
        grouped(found.peers as f64, 0),
        found.coordinators
    );
    let head = [
        "",
        "updates a second, saturated",
        "CPU of Postgres, µs an update",
        "statements an update",
        "statements of a bystander",
        "its payloads",
    ];
    *text += &table(
        head,
        found.engines.iter().map(|measured| {
            let saturated = &measured.saturated;
            let [statements, payloads] = match &measured.bystanders {
                Some(bystanders) => [bystanders.statements, bystanders.payloads].map(|figure| figure.brief(3)),
                None => Default::default(),
            };
            [
                format!("{}: {}", measured.name(), measured.what),
                saturated.updates_per_second.brief(0),
                saturated.cost.postgres_us.brief(1),
                saturated.cost.statements.brief(4),
                statements,
                payloads,
            ]
        }),
    );
    text.push('\n');
    let rates = found.engines.iter().flat_map(|engine| engine.rates.iter().map(move |rate| (engine.name(), rate)));
    let head = ["", "a second", "p50 ms", "p99 ms", "CPU of Postgres, µs an update", "statements an update", "held"];
    *text += &table(
        head,
        rates.map(|(name, rate)| {
            [
                name.to_owned(),
                grouped(rate.per_second, 0),
                rate.p50_ms.brief(1),
                rate.p99_ms.brief(1),
                rate.cost.postgres_us.brief(1),
                rate.cost.statements.brief(3),
                if rate.held { "yes" } else { "no" }.to_owned(),
            ]
        }),
    );
}

fn size(text: &mut String, found: &Size) {
    let _ = write!(
        text,
        "\n![Database cost of an update against the number of peers](plots/size.svg)

Calls of {} updates of random peers, among many and among 10,000, interleaved; *own*: of the 5,000 agents of one proxy,
scattered over the tables; *same*: of the same peers each time, whose pages are all in the buffers.

",
        found.batch
    );
    let head = ["peers", "tables and indexes, MB", "µs an update", "among 10,000", "÷", "CPU ÷", "own ÷", "same ÷"];
    *text += &table(
        head,
        found.points.iter().map(|point| {
            [
                grouped(point.peers as f64, 0),
                grouped(point.megabytes, 0),
                point.random.large.us.brief(1),
                point.random.small.us.brief(1),
                point.random.ratio.brief(2),
                point.random.cpu_ratio.brief(2),
                point.own.ratio.brief(2),
                point.same.ratio.brief(2),
            ]
        }),
    );
}

fn hub(text: &mut String, found: &Hub) {
    let tunnels = grouped(found.tunnels as f64, 0);
    let _ = write!(text, "\nUpdates of agents, with a hub that has a tunnel to each of {tunnels} and without it.\n\n");
    *text += &table(
        ["hub", "updates a call", "µs with it", "µs without", "÷", "CPU ÷"],
        found.cases.iter().map(|case| {
            let (with, without) = (case.with.us.brief(1), case.without.us.brief(1));
            let (ratio, cpu) = (case.ratio.brief(2), case.cpu_ratio.brief(2));
            [case.hub.clone(), case.batch.to_string(), with, without, ratio, cpu]
        }),
    );
}
