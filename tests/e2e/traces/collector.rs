//! A collector: takes spans over OTLP, as HTTP with protobuf, and keeps them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinHandle};

/// What a collector was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The process that it is from.
    pub resource: Vec<KeyValue>,
    pub span: Span,
}

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

impl Received {
    /// An attribute of the span, as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        value(&self.span.attributes, key)
    }

    /// The same as a number.
    pub fn number(&self, key: &str) -> Result<i64> {
        let text = self.attribute(key).with_context(|| format!("no {key} in {:?}", self.span))?;
        text.parse().with_context(|| format!("{key} is {text}"))
    }

    /// An attribute of the process, as text.
    pub fn process(&self, key: &str) -> Option<String> {
        value(&self.resource, key)
    }

    pub fn id(&self) -> String {
        hex::encode(&self.span.span_id)
    }

    pub fn parent(&self) -> String {
        hex::encode(&self.span.parent_span_id)
    }

    /// What the peer was told to be wrong.
    pub fn errors(&self) -> Vec<String> {
        let events = self.span.events.iter().filter(|event| event.name == "error");
        events.filter_map(|event| value(&event.attributes, "exception.message")).collect()
    }

    /// Whether it says that something went wrong.
    pub fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code == 2)
    }
}

fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match &attribute.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        _ => None,
    }
}
