//! `coordinate`: pairs meet, change, and are compared with the tables.

mod check;
mod churn;
mod departure;
mod figures;
mod hub;
mod load;
mod member;
pub mod options;
mod pair;
mod updates;

use anyhow::Result;
use tokio::task::JoinSet;

use self::{
    figures::Coordination,
    hub::Hub,
    options::{Coordinate, Load},
    pair::Pair,
};
use crate::{
    common::Common,
    metrics::Metrics,
    run::{Run, Scenario},
};

impl Scenario for Coordinate {
    type Figures = Coordination;

    fn common(&self) -> &Common {
        &self.common
    }

    fn peers(&self) -> usize {
        2 * self.common.peers as usize + usize::from(self.hub)
    }

    fn runners(&self) -> usize {
        self.common.peers as usize + usize::from(self.hub)
    }

    fn figures(&self, _: &Metrics) -> Coordination {
        Coordination::new(self)
    }

    async fn phases(&self, run: &Run<Coordination>) -> Result<()> {
        let Run { identities, record, trace, .. } = run;
        run.phase("identities", "identities", 1);
        let coordinators = identities.coordinators().await?;
        let made = identities.make(self.common.peers as usize, self.hub).await?;
        let mut hub = made.hub.map(|identity| Hub::new(identity, self.common.doors(0)[0].clone(), trace));
        let hub_id = hub.as_ref().map(|hub| hub.member.id);
        let pairs = made.pairs.into_iter().enumerate();
        let mut pairs: Vec<Pair> =
            pairs.map(|(number, ends)| Pair::new(number, ends, self.common.doors(number), hub_id, trace)).collect();

        let how = match self.load {
            Load::Storm => "all at once".to_owned(),
            Load::Ramp => format!("over {}", humantime::format_duration(self.ramp_time)),
        };
        run.phase("load", &format!("load: {} pairs, {how}", pairs.len()), pairs.len() as u64);
        pairs = load::run(pairs, hub.as_mut(), self, run).await;
        if record.no_failures().is_ok() && updates::due(self) > 0 {
            let span = humantime::format_duration(self.span);
            let text = format!("updates: {} a second for {span}", self.updates_per_second);
            run.phase("updates", &text, updates::due(self));
            pairs = updates::run(pairs, self, run).await;
        }
        if record.no_failures().is_ok() && churn::due(self) > 0 {
            let span = humantime::format_duration(self.churn_for);
            run.phase("churn", &format!("churn: {} a second for {span}", self.churn), churn::due(self));
            pairs = churn::run(pairs, self, run).await;
        }

        run.phase("check", "check", 1);
        check::sockets(&mut pairs, hub.as_mut(), record);
        let checked = match record.no_failures() {
            Ok(()) => {
                let checked = check::views(&pairs, hub.as_ref(), &coordinators, self, run).await;
                checked.map(|()| record.pass_the_others())
            }
            // The others saw it fail: what they must have been told is another question.
            failed => {
                record.pass_the_others();
                failed
            }
        };

        run.phase("goodbye", "goodbye", 1);
        let mut leaving = JoinSet::new();
        for mut member in pairs.into_iter().flat_map(|pair| [pair.agent, pair.client]).chain(hub.map(|hub| hub.member))
        {
            leaving.spawn(async move { member.peer.disconnect().await });
        }
        leaving.join_all().await;
        checked
    }
}
