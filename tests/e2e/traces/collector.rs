//! A collector: takes spans over OTLP, as HTTP with protobuf, and keeps them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinHandle};

pub use super::span::Received;

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    received: Store,
    server: JoinHandle<()>,
}

type Store = Arc<Mutex<Vec<Received>>>;

impl Collector {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, received) = (listener.local_addr()?, Store::default());
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&received));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Ok(Self { address, received, server })
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All spans of a trace so far.
    pub fn of(&self, trace_id: &str) -> Vec<Received> {
        self.received().into_iter().filter(|received| hex::encode(&received.span.trace_id) == trace_id).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(store): State<Store>, body: Bytes) -> (StatusCode, Vec<u8>) {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return (StatusCode::BAD_REQUEST, Vec::new());
    };
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    for spans in request.resource_spans {
        let resource = spans.resource.unwrap_or_default().attributes;
        let spans = spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        store.extend(spans.map(|span| Received { resource: resource.clone(), span }));
    }
    (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
}
