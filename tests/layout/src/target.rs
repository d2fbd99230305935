//! What is checked: every library, program and test of the workspace, as cargo lists them.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One crate in the sense of the compiler.
pub struct Target {
    pub name: String,
    /// The file that the compiler starts with.
    pub root: PathBuf,
}

pub struct Workspace {
    pub folder: PathBuf,
    /// Where cargo builds.
    pub built: PathBuf,
    pub targets: Vec<Target>,
}

pub fn workspace() -> Result<Workspace> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value, key: &str| -> Result<String> {
        Ok(value[key].as_str().with_context(|| format!("cargo metadata has no {key}"))?.to_owned())
    };
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();

    let mut targets = Vec::new();
    for package in list(&metadata, "packages") {
        let name = text(&package, "name")?;
        for target in list(&package, "targets") {
            let kind = target["kind"][0].as_str().unwrap_or("target").to_owned();
            targets.push(Target {
                name: format!("{name} ({kind} {})", text(&target, "name")?),
                root: text(&target, "src_path")?.into(),
            });
        }
    }
    let path = |key| text(&metadata, key).map(PathBuf::from);
    Ok(Workspace { folder: path("workspace_root")?, built: path("target_directory")?, targets })
}
