//! Phase: all websockets are open, and every peer was told what the tables say.

use std::{collections::HashSet, sync::Arc};

use anyhow::{Context, Result};
use tailnet_tools::checking::{Oracle, watched::Watched};
use uuid::Uuid;

use super::{
    figures::{Check, Coordination},
    hub::Hub,
    options::Coordinate,
    pair::{End, Pair},
};
use crate::{record::Record, report::Route, run::Run};

/// Notes what should not have happened to any websocket.
pub fn sockets(pairs: &mut [Pair], hub: Option<&mut Hub>, record: &Record<Coordination>) {
    for pair in pairs.iter_mut().filter(|pair| !pair.has_failed) {
        let trouble =
            [End::Agent, End::Client].into_iter().find_map(|end| pair.trouble(end).map(|trouble| (end, trouble)));
        pair.passed(trouble.map_or(Ok(()), Err), record);
    }
    let Some(hub) = hub.filter(|hub| !hub.has_failed) else { return };
    let left = pairs.iter().filter(|pair| pair.has_failed || pair.has_left);
    let left: HashSet<Uuid> = left.map(|pair| pair.agent.id).collect();
    if let Some(trouble) = hub.member.trouble(|agent| left.contains(&agent)) {
        hub.has_failed = true;
        hub.member.fail(record, &trouble);
    }
}

/// Compares what each peer was told with the tables. The same coordinators as at the beginning must be there.
///
/// # Errors
/// When they differ, or the tables cannot be read.
pub async fn views(
    pairs: &[Pair],
    hub: Option<&Hub>,
    coordinators: &[String],
    options: &Coordinate,
    Run { identities, record, .. }: &Run<Coordination>,
) -> Result<()> {
    let members = || {
        let ends = pairs.iter().flat_map(|pair| [&pair.agent, &pair.client]);
        ends.chain(hub.map(|hub| &hub.member))
    };
    let sessions = identities.sessions().await?;
    let placed = members().map(|member| (member.id, member.url()));
    let routes = Route::all(&options.common.proxies, placed, &sessions);
    record.write(|report| report.proxies = routes);
    for member in members() {
        // A peer knows a URL only, and not which proxy is behind it.
        let mut account = member.peer.account();
        if let (Some(proxy), Some(coordinator)) = (&mut account.proxy, sessions.get(&member.id)) {
            proxy.clone_from(coordinator);
        }
    }
    let watched: Vec<Arc<Watched>> = members().map(|member| Arc::clone(member.peer.watched())).collect();
    let mut oracle = Oracle::new(identities.config().clone());
    let agreement =
        oracle.agree(&watched, coordinators, options.common.job_timeout).await.context("not all views are right")?;
    let check = Check { peers: watched.len(), words: agreement.words, seconds: agreement.after.as_secs_f64() };
    record.note(|figures, _| figures.check = Some(check));
    Ok(())
}
