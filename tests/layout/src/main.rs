//! Looks for circles in the source of every crate of the workspace:
//!
//! - between files: no file may import, directly or through others, a file that imports it;
//! - between folders: the same for the direct children of each folder, files and folders alike.
//!
//! `use` and paths in the code both count as imports. A path that goes through a re-export counts as an import of the
//! file that defines the item, so a `mod.rs` that only declares and re-exports is never part of a circle. Tests
//! (`#[cfg(test)]`) are left out. The check knows no types: a method that is called on a value counts only where the
//! value is `self`.
//!
//! From `tree.rs` (the modules of a crate) over `names.rs` (which file defines a name) and `imports.rs` (which file
//! imports which) to `circles.rs`.

mod circles;
mod imports;
mod item;
mod mention;
mod names;
#[cfg(test)]
mod tests;
mod tree;

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

fn main() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let base = metadata["workspace_root"].as_str().context("cargo metadata names no workspace")?;

    // Every library, program and test is a crate of its own.
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets: Vec<&Value> = packages.flat_map(|package| package["targets"].as_array()).flatten().collect();
    let mut problems = Vec::new();
    for target in &targets {
        let name = format!("{} ({})", target["name"].as_str().unwrap_or_default(), target["kind"][0]);
        let root = Path::new(target["src_path"].as_str().context("cargo metadata names no file of a target")?);
        let tree = tree::read(root, &|path| std::fs::read_to_string(path).ok())
            .with_context(|| format!("cannot read {name}"))?;
        problems.extend(circles::problems(&name, &tree, Path::new(base)));
    }
    for problem in &problems {
        eprintln!("{problem}\n");
    }
    if !problems.is_empty() {
        eprintln!("{} circles", problems.len());
        std::process::exit(1);
    }
    println!("no circles in {} crates", targets.len());
    Ok(())
}
