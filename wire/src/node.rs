//! What a peer announces about itself, as the text that it sent.
//!
//! A node is stored and sent on as text, so unknown fields survive and nobody prints it again. The text is JSON; its
//! known fields are read with [`Node::fields`] where they are needed: in the extension, which checks them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::fields::{NodeError, NodeFields};

/// A JSON text. Clones share it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Node(Arc<RawValue>);

impl Node {
    /// Takes a text that is JSON. Whether it is a node says [`Node::fields`].
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn new(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(|text| Self(text.into()))
    }

    /// Prints what is a JSON object.
    ///
    /// # Errors
    /// When it cannot be printed, for example because it has keys that are no strings.
    pub fn print(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        to_raw_value(value).map(|text| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Reads the known fields.
    ///
    /// # Errors
    /// When the text is not that of a node: see [`NodeFields::parse`].
    pub fn fields(&self) -> Result<NodeFields, NodeError> {
        NodeFields::parse(self.as_str())
    }
}

impl PartialEq for Node {
    /// Whether the texts are the same. [`Digest`](crate::Digest) says whether two nodes say the same.
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Node {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_kept_as_it_came() {
        let text = r#"{"b":1e2, "key":"\u00e9",  "a":[ ]}"#;
        let node: Node = serde_json::from_str(text).expect("JSON");
        assert_eq!(node.as_str(), text);
        assert_eq!(serde_json::to_string(&node).expect("JSON"), text);
        assert_eq!(node.fields().expect("a node").key.as_deref(), Some("é"));
        assert!(Node::new("{".to_owned()).is_err());
    }
}
