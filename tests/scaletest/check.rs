//! Phase: all websockets are open, and every peer was told what the tables say.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use anyhow::{Context, Result};
use tailnet_tests::harness::{Oracle, light_peer::Watched};
use uuid::Uuid;

use crate::{
    hub::Hub,
    identities::Identities,
    member::Member,
    options::Coordinate,
    pair::{End, Pair},
    record::Record,
    report::{Check, Route},
};

/// Notes what should not have happened to any websocket.
pub fn sockets(pairs: &mut [Pair], hub: Option<&mut Hub>, record: &Record) {
    for pair in pairs.iter_mut().filter(|pair| !pair.has_failed) {
        let trouble = [End::Agent, End::Client]
            .into_iter()
            .find_map(|end| pair.end(end).trouble(|_| false).map(|trouble| (end, trouble)));
        pair.passed(trouble.map_or(Ok(()), Err), record);
    }
    let Some(hub) = hub.filter(|hub| !hub.has_failed) else { return };
    let failed: HashSet<Uuid> = pairs.iter().filter(|pair| pair.has_failed).map(|pair| pair.agent.id).collect();
    if let Some(trouble) = hub.member.trouble(|agent| failed.contains(&agent)) {
        hub.has_failed = true;
        record.fail(&hub.member, &trouble);
    }
}

/// Compares what each peer was told with the tables. The same coordinators as at the beginning must be there.
///
/// # Errors
/// When they differ, or the tables cannot be read.
pub async fn views(
    pairs: &[Pair],
    hub: Option<&Hub>,
    identities: &Identities,
    coordinators: &[String],
    options: &Coordinate,
    record: &Record,
) -> Result<()> {
    let members = || {
        let ends = pairs.iter().flat_map(|pair| [&pair.agent, &pair.client]);
        ends.chain(hub.map(|hub| &hub.member))
    };
    let sessions = identities.sessions().await?;
    let routes = routes(&options.proxies, members(), &sessions);
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
        oracle.agree(&watched, coordinators, options.job_timeout).await.context("not all views are right")?;
    let check = Check { peers: watched.len(), words: agreement.words, seconds: agreement.after.as_secs_f64() };
    record.write(|report| report.check = Some(check));
    Ok(())
}

fn routes<'a>(
    urls: &[String],
    members: impl Iterator<Item = &'a Member>,
    sessions: &HashMap<Uuid, String>,
) -> Vec<Route> {
    let mut routes: Vec<(&String, usize, BTreeSet<&String>)> =
        urls.iter().map(|url| (url, 0, BTreeSet::new())).collect();
    for member in members {
        if let Some((_, peers, coordinators)) = routes.iter_mut().find(|(url, ..)| *url == member.url()) {
            *peers += 1;
            coordinators.extend(sessions.get(&member.id));
        }
    }
    let route = |(url, peers, coordinators): (&String, usize, BTreeSet<&String>)| Route {
        url: url.clone(),
        peers,
        coordinators: coordinators.into_iter().cloned().collect(),
    };
    routes.into_iter().map(route).collect()
}
