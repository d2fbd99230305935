//! A span, as a collector received it.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span,
};

use super::caller::Caller;

/// What a collector was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The process that it is from.
    pub resource: Vec<KeyValue>,
    pub span: Span,
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

/// The one span of the connection of a caller.
#[track_caller]
pub fn connection(spans: &[Received], caller: &Caller) -> Received {
    let found: Vec<&Received> = spans.iter().filter(|received| received.parent() == caller.span_id).collect();
    assert_eq!(found.len(), 1, "{}", listed(spans));
    found[0].clone()
}

/// The names of the spans below another, sorted.
pub fn below<'a>(spans: &'a [Received], parent: &Received) -> Vec<&'a str> {
    let children = spans.iter().filter(|received| received.parent() == parent.id());
    let mut names: Vec<&str> = children.map(|received| received.span.name.as_str()).collect();
    names.sort_unstable();
    names
}

pub fn listed(spans: &[Received]) -> String {
    spans.iter().fold(String::new(), |mut text, received| {
        writeln!(text, "{} below {}: {:?}", received.id(), received.parent(), received.span)
            .expect("a String takes it");
        text
    })
}

fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match &attribute.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        _ => None,
    }
}
