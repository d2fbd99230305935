//! The figures of a run for machines.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes them to a file.
pub fn write(path: &Path, figures: &impl Serialize) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(figures).context("the figures have no JSON")?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
