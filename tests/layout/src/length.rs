//! Files that are too long to read.

use std::{fs, path::Path};

use anyhow::Result;

use crate::target::Workspace;

const LIMIT: usize = 400;

/// What is too long in the workspace, outside of hidden folders and of cargo's.
pub fn too_long(workspace: &Workspace) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    walk(workspace, &workspace.folder, &mut problems)?;
    problems.sort();
    Ok(problems)
}

fn walk(workspace: &Workspace, folder: &Path, problems: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_symlink() || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if path != workspace.built {
                walk(workspace, &path, problems)?;
            }
        } else if counts(&name) {
            let lines = fs::read_to_string(&path)?.lines().count();
            problems.extend(judge(path.strip_prefix(&workspace.folder).unwrap_or(&path), lines));
        }
    }
    Ok(())
}

fn counts(name: &str) -> bool {
    name.ends_with(".rs") || name.ends_with(".sql") || name == "Makefile"
}

fn judge(path: &Path, lines: usize) -> Option<String> {
    (lines > LIMIT).then(|| format!("{} has {lines} lines; the limit is {LIMIT}. Split it.", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_hundred_lines_are_enough() {
        assert_eq!(judge(Path::new("a.rs"), 400), None);
        assert_eq!(judge(Path::new("a.rs"), 401).as_deref(), Some("a.rs has 401 lines; the limit is 400. Split it."));
    }

    #[test]
    fn rust_sql_and_the_makefile_count() {
        let counted: Vec<_> =
            ["a.rs", "b.sql", "Makefile", "c.md", "d.out"].into_iter().filter(|n| counts(n)).collect();
        assert_eq!(counted, ["a.rs", "b.sql", "Makefile"]);
    }
}
