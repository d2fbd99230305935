//! Checks tokens, and asks for the pages of large views.

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    batcher::Batcher,
    bisect::Bisect,
    hub::Hub,
    id::{Identity, SessionId},
    request::{QuerierRequest, Question},
    store::{Store, StoreError, TokenHash},
    worker::{Outcome, Role},
};

/// The role.
#[derive(Debug, Clone)]
pub struct Querier;

impl Role for Querier {
    type Key = Question;
    type Request = QuerierRequest;
    const NAME: &'static str = "querier";

    fn traced(question: &Question, _: &QuerierRequest) -> Option<(SessionId, &'static str)> {
        match question {
            Question::Page(id) => Some((*id, "view")),
            Question::Token(_) => None, // nobody's yet: the upgrade has a span for it
        }
    }

    fn batcher(hub: &Hub) -> &Batcher<Question, QuerierRequest> {
        &hub.querier
    }

    async fn run(
        &self,
        hub: &Hub,
        store: &mut Store,
        registration: Uuid,
        batch: Vec<(Question, QuerierRequest)>,
    ) -> Outcome<Question, QuerierRequest> {
        let (mut tokens, mut pages) = (Vec::new(), Vec::new());
        for (question, request) in batch {
            match (question, request) {
                (_, QuerierRequest::Token { hash, reply }) => tokens.push((hash, reply)),
                (Question::Page(id), QuerierRequest::Page { after }) => pages.push((id, after)),
                (Question::Token(_), QuerierRequest::Page { .. }) => {} // pages are asked for by session only
            }
        }
        let mut errors = Vec::new();
        errors.extend(authenticate(store, tokens).await.err());

        let mut bisect = Bisect::new([pages]);
        while let Some(chunk) = bisect.next_chunk() {
            let result = store.view_peers(registration, &chunk).await;
            bisect.tell(chunk, result);
        }
        for ((id, _), error) in bisect.refused {
            hub.refuse(id, error);
        }
        errors.extend(bisect.error);
        let failed = bisect.failed.into_iter().map(|(id, after)| (Question::Page(id), QuerierRequest::Page { after }));
        Outcome { failed: failed.collect(), errors }
    }
}

/// Not tried again: who waits for the answer tries again itself, when the replies are dropped.
async fn authenticate(
    store: &mut Store,
    tokens: Vec<(TokenHash, oneshot::Sender<Option<Identity>>)>,
) -> Result<(), StoreError> {
    if tokens.is_empty() {
        return Ok(());
    }
    let hashes: Vec<&[u8]> = tokens.iter().map(|(hash, _)| hash.as_slice()).collect();
    let sessions = store.authenticate(&hashes).await?;
    for ((_, reply), session) in tokens.into_iter().zip(sessions) {
        // Who waited may be gone.
        let _ = reply.send(session);
    }
    Ok(())
}
