//! As much HTTP as an exporter needs: plain, over hyper, in the runtime of the program.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client as Hyper, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tailnet_wire::Chain;
use tokio::{runtime::Handle, time::timeout};

/// The most bytes of an answer. A collector says little.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends requests to a collector. Its clones share the connection and the last problem.
#[derive(Debug, Clone)]
pub struct Client {
    runtime: Handle,
    hyper: Hyper<HttpConnector, Full<Bytes>>,
    patience: Duration,
    problem: Arc<Mutex<Option<String>>>,
}

impl Client {
    /// A client that works in `runtime`, which must run while requests are made. Each request may take `patience`.
    pub fn new(runtime: Handle, patience: Duration) -> Self {
        let hyper = Hyper::builder(TokioExecutor::new()).build_http();
        Self { runtime, hyper, patience, problem: Arc::default() }
    }

    /// Why the last request got no answer. The error of the exporter does not say it.
    pub fn take_problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = async {
            let (head, body) = self.hyper.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        match timeout(self.patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {:?}", self.patience).into()),
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The exporter calls this on a thread of its own, where sockets and timers of the runtime do not work.
        let answer = match self.runtime.spawn(self.clone().send(request)).await {
            Ok(answer) => answer,
            Err(error) => Err(error.into()), // the runtime has ended
        };
        let problem = answer.as_ref().err().map(|error| Chain(&**error).to_string());
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        answer
    }
}
