//! As much HTTP as an exporter needs: plain, over hyper, in the runtime of the program.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client as Hyper, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::{runtime::Handle, time::timeout};

/// The most bytes of an answer: a collector says little.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends requests to a collector. Its clones share the connection and the fault.
#[derive(Debug, Clone)]
pub struct Client {
    runtime: Handle,
    hyper: Hyper<HttpConnector, Full<Bytes>>,
    patience: Duration,
    fault: Arc<Mutex<Option<String>>>,
}

impl Client {
    /// Of this runtime, which must run while requests are made. Each request may take so long.
    pub fn new(runtime: Handle, patience: Duration) -> Self {
        let hyper = Hyper::builder(TokioExecutor::new()).build_http();
        Self { runtime, hyper, patience, fault: Arc::default() }
    }

    /// Why the last request had no answer; the exporter's own error does not say.
    pub fn take_fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        // The exporter runs on a thread of its own, where sockets and timers do not work.
        let answer = match self.runtime.spawn(self.clone().send(request)).await {
            Ok(answer) => answer,
            Err(error) => Err(error.into()), // the runtime ends
        };
        let fault = answer.as_ref().err().map(|error| text(&**error));
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        answer
    }
}

/// An error with its causes.
fn text(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", text(cause)))
}
