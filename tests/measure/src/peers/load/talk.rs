//! How the thread that serves the peers hears of commands, and answers them.

use std::io::{Write as _, stdout};

use anyhow::{Context, Result};
use mio::Token;

use crate::peers::control::Answer;

/// Wakes the thread when there is a command; no peer has this number.
pub const COMMAND: Token = Token(usize::MAX);

/// Something is due; no peer has this number.
pub const DUE: Token = Token(usize::MAX - 1);

pub fn say(answer: &Answer) -> Result<()> {
    let line = serde_json::to_string(answer).context("an answer has string keys")?;
    writeln!(stdout().lock(), "{line}").context("nobody reads the answers")
}
