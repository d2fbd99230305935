//! Checks tokens and dials, enrols machines, and asks for DERP maps and for the pages of large views.

use std::collections::HashMap;

use tailnet_wire::SessionId;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    batch::{
        batcher::Batcher,
        bisect::Bisect,
        request::{AgentInfo, Authentication, Enrolment, QuerierRequest, Question, TokenHash},
    },
    message::Refused,
    postgres::{
        store::Store,
        store_error::StoreError,
        worker::{Outcome, Worker},
    },
    state::switchboard::Switchboard,
};

#[derive(Debug, Clone)]
pub struct Querier;

impl Worker for Querier {
    type Key = Question;
    type Request = QuerierRequest;

    fn traced(question: &Question, _: &QuerierRequest) -> Option<(SessionId, &'static str)> {
        match question {
            Question::Page(id) => Some((*id, "view")),
            // It belongs to no connection yet: the upgrade has a span of its own.
            Question::Token(_)
            | Question::Dial(_)
            | Question::DerpMap(_)
            | Question::AgentInfo(_)
            | Question::Enrolment(_) => None,
        }
    }

    fn batcher(switchboard: &Switchboard) -> &Batcher<Question, QuerierRequest> {
        &switchboard.querier
    }

    async fn run(
        &self,
        switchboard: &Switchboard,
        store: &mut Store,
        registration: Uuid,
        batch: Vec<(Question, QuerierRequest)>,
    ) -> Outcome<Question, QuerierRequest> {
        let (mut tokens, mut dials, mut agents, mut machines) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut maps, mut pages) = (Vec::new(), Vec::new());
        for (question, request) in batch {
            match (question, request) {
                (_, QuerierRequest::Token { hash, resume, reply }) => tokens.push((hash, resume, reply)),
                (Question::Page(id), QuerierRequest::Page { after }) => pages.push((id, after)),
                (_, QuerierRequest::Dial { hash, agent, reply }) => dials.push((hash, agent, reply)),
                (_, QuerierRequest::AgentInfo { agent, reply }) => agents.push((agent, reply)),
                (_, QuerierRequest::Enrolment { hash, machine, reply }) => machines.push((hash, machine, reply)),
                (Question::DerpMap(network), QuerierRequest::DerpMap) => maps.push(network),
                // Never made: a page is asked for by session, and a map by network.
                (_, QuerierRequest::Page { .. } | QuerierRequest::DerpMap) => {}
            }
        }
        let mut errors = Vec::new();
        errors.extend(authenticate(switchboard, store, tokens).await.err());
        errors.extend(judge(store, dials).await.err());
        errors.extend(describe(store, agents).await.err());
        errors.extend(enrol(store, machines).await.err());
        let asked = ask_for_maps(switchboard, store, &maps).await.err();
        let unasked = if asked.is_some() { maps } else { Vec::new() };
        errors.extend(asked);

        let mut bisect = Bisect::new([pages]);
        while let Some(chunk) = bisect.next_chunk() {
            let result = store.view_peers(registration, &chunk).await;
            bisect.tell(chunk, result);
        }
        for ((id, _), error) in bisect.refused {
            switchboard.refuse(id, Refused::Postgres(error));
        }
        errors.extend(bisect.error);
        let failed = bisect.failed.into_iter().map(|(id, after)| (Question::Page(id), QuerierRequest::Page { after }));
        let unasked = unasked.into_iter().map(|network| (Question::DerpMap(network), QuerierRequest::DerpMap));
        Outcome { failed: failed.chain(unasked).collect(), errors }
    }
}

/// A failed check is not tried again: the replies are dropped, and the edge answers that Postgres is away.
async fn authenticate(
    switchboard: &Switchboard,
    store: &mut Store,
    tokens: Vec<(TokenHash, String, oneshot::Sender<Authentication>)>,
) -> Result<(), StoreError> {
    if tokens.is_empty() {
        return Ok(());
    }
    let hashes: Vec<&[u8]> = tokens.iter().map(|(hash, ..)| hash.as_slice()).collect();
    let resumes: Vec<&str> = tokens.iter().map(|(_, resume, _)| resume.as_str()).collect();
    let authenticated = store.authenticate(&hashes, &resumes).await?;
    switchboard.metrics.unknown.inc_by(authenticated.unknown_roles);
    for ((.., reply), answer) in tokens.into_iter().zip(authenticated.answers) {
        // The receiver may be gone.
        let _ = reply.send(answer);
    }
    Ok(())
}

/// A failed check is not tried again, as above.
async fn judge(store: &mut Store, dials: Vec<(TokenHash, Uuid, oneshot::Sender<bool>)>) -> Result<(), StoreError> {
    if dials.is_empty() {
        return Ok(());
    }
    let hashes: Vec<&[u8]> = dials.iter().map(|(hash, ..)| hash.as_slice()).collect();
    let agents: Vec<Uuid> = dials.iter().map(|(_, agent, _)| *agent).collect();
    let allowed = store.judge_dials(&hashes, &agents).await?;
    for ((.., reply), allowed) in dials.into_iter().zip(allowed) {
        // The receiver may be gone.
        let _ = reply.send(allowed);
    }
    Ok(())
}

/// What no operator has set has defaults. An agent that was deleted meanwhile is not answered.
async fn describe(store: &mut Store, agents: Vec<(Uuid, oneshot::Sender<AgentInfo>)>) -> Result<(), StoreError> {
    if agents.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = agents.iter().map(|(agent, _)| *agent).collect();
    let found: HashMap<Uuid, AgentInfo> = store.agent_info(&ids).await?.into_iter().collect();
    for (agent, reply) in agents {
        if let Some(info) = found.get(&agent) {
            // The receiver may be gone.
            let _ = reply.send(info.clone());
        }
    }
    Ok(())
}

/// A failed call is not tried again, as above. It may have been committed: then the machine gets the same peer when it asks again.
async fn enrol(
    store: &mut Store,
    machines: Vec<(TokenHash, Uuid, oneshot::Sender<Enrolment>)>,
) -> Result<(), StoreError> {
    if machines.is_empty() {
        return Ok(());
    }
    let hashes: Vec<&[u8]> = machines.iter().map(|(hash, ..)| hash.as_slice()).collect();
    let ids: Vec<Uuid> = machines.iter().map(|(_, machine, _)| *machine).collect();
    let enrolments = store.enrol(&hashes, &ids).await?;
    for ((.., reply), enrolment) in machines.into_iter().zip(enrolments) {
        // The receiver may be gone.
        let _ = reply.send(enrolment);
    }
    Ok(())
}

async fn ask_for_maps(switchboard: &Switchboard, store: &mut Store, networks: &[Uuid]) -> Result<(), StoreError> {
    if !networks.is_empty() {
        for (network, found) in store.derp_maps(networks).await? {
            switchboard.derp_maps.put(network, found);
        }
    }
    Ok(())
}
