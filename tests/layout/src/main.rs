//! Checks how the source is laid out, for every crate of the workspace:
//!
//! - no circle between files: no file may import, directly or through others, a file that imports it;
//! - no circle between folders: the same for the direct children of each folder, files and folders alike;
//! - no `.rs` file, `.sql` file or Makefile of more than 400 lines.
//!
//! `use` and paths in the code both count as imports. A path that goes through a re-export counts as an import of the
//! file that defines the item, so a `mod.rs` that only declares and re-exports is never part of a circle. Tests
//! (`#[cfg(test)]`) are left out. The check knows no types: a method that is called on a value counts only where the
//! value is `self`.
//!
//! From `src/target.rs` (what is checked) over `tree.rs` (its modules), `names.rs` (which file defines a name) and
//! `imports.rs` (which file imports which) to `circles.rs`.

mod circles;
mod folders;
mod imports;
mod item;
mod length;
mod mention;
mod names;
mod report;
mod target;
#[cfg(test)]
mod tests;
mod tree;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let workspace = target::workspace()?;
    let mut problems = Vec::new();
    for target in &workspace.targets {
        let tree = tree::read(&target.root, &|path| std::fs::read_to_string(path).ok())
            .with_context(|| format!("cannot read {}", target.name))?;
        problems.extend(report::circles(&target.name, &tree, &workspace.folder));
    }
    problems.extend(length::too_long(&workspace)?);
    if problems.is_empty() {
        println!("layout: ok ({} targets)", workspace.targets.len());
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}\n");
    }
    eprintln!("layout: {} problems", problems.len());
    std::process::exit(1);
}
