//! What was measured at the database, without proxies.

use std::fmt::Write as _;

use tailnet_measure::figure::grouped;

use super::spread;
use crate::engines::{Engines, Measured};

/// P3, P4, P6 and P7.
pub fn write(text: &mut String, engines: &Engines) {
    let found = &engines.found;
    let _ = write!(
        text,
        "\n### At the database: against the prior design, and against itself

`tailnet-engines`, without websockets: {} peers over {} coordinators. The prior design is one upsert and one notification on a
global channel a change; every replica hears every change, and looks up tunnels and bindings in batches of up to 50.

| | updates a second, saturated | CPU of Postgres, µs an update | statements an update | statements of a bystander | its payloads |
|---|---|---|---|---|---|
",
        grouped(found.fan_out.peers as f64, 0),
        found.fan_out.coordinators
    );
    for measured in &found.fan_out.engines {
        let Measured { saturated, bystanders, .. } = measured;
        let [statements, payloads] = match bystanders {
            Some(bystanders) => [&bystanders.statements, &bystanders.payloads].map(|figure| spread(figure, 3)),
            None => Default::default(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {statements} | {payloads} |",
            measured.named(),
            spread(&saturated.updates_per_second, 0),
            spread(&saturated.postgres_us, 1),
            spread(&saturated.statements, 4)
        );
    }
    let _ = writeln!(
        text,
        "\n| | a second | p50 ms | p99 ms | CPU of Postgres, µs an update | statements an update | held |\n|---|---|---|---|---|---|---|"
    );
    for measured in &found.fan_out.engines {
        for rate in &measured.rates {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                measured.named().split(':').next().unwrap_or_default(),
                grouped(rate.per_second, 0),
                spread(&rate.p50_ms, 1),
                spread(&rate.p99_ms, 1),
                spread(&rate.postgres_us, 1),
                spread(&rate.statements, 3),
                if rate.held { "yes" } else { "no" }
            );
        }
    }
    let _ = write!(
        text,
        "\n![Database cost of an update against the number of peers](plots/size.svg)

Calls of {} updates of random peers, among many and among 10,000, interleaved; *own*: of the 5,000 agents of one proxy,
scattered over the tables; *same*: of the same peers each time, whose pages are all in the buffers.

| peers | tables and indexes, MB | µs an update | among 10,000 | ÷ | CPU ÷ | own ÷ | same ÷ |
|---|---|---|---|---|---|---|---|
",
        found.size.batch
    );
    for point in &found.size.points {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            grouped(point.peers as f64, 0),
            grouped(point.megabytes, 0),
            spread(&point.random.large.us, 1),
            spread(&point.random.small.us, 1),
            spread(&point.random.ratio, 2),
            spread(&point.random.cpu_ratio, 2),
            spread(&point.own.ratio, 2),
            spread(&point.same.ratio, 2)
        );
    }
    let _ = writeln!(
        text,
        "\nUpdates of agents, with a hub that has a tunnel to each of {} and without it.\n\n| hub | updates a call | µs with it | µs without | ÷ | CPU ÷ |\n|---|---|---|---|---|---|",
        grouped(found.hub.tunnels as f64, 0)
    );
    for case in &found.hub.cases {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            case.hub,
            case.batch,
            spread(&case.with.us, 1),
            spread(&case.without.us, 1),
            spread(&case.ratio, 2),
            spread(&case.cpu_ratio, 2)
        );
    }
}
