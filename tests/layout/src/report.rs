//! What the check says about a crate, in words.

use std::{fmt::Write, path::Path};

use crate::{
    circles::circles as circles_of,
    folders::{FolderCircle, folder_circles},
    imports::{Imports, imports},
    tree::{FileId, Tree},
};

/// From one folder to another, so many imports are listed.
const LISTED: usize = 3;

/// One paragraph for each circle in the crate `name`; paths are shown relative to `folder`.
pub fn circles(name: &str, tree: &Tree, folder: &Path) -> Vec<String> {
    let imports = imports(tree);
    let words = Words { name, tree, imports: &imports, folder };
    let files = circles_of(imports.keys().copied()).into_iter().map(|circle| words.files(&circle));
    let folders = folder_circles(tree, &imports);
    files.chain(folders.iter().map(|circle| words.folders(circle))).collect()
}

struct Words<'a> {
    name: &'a str,
    tree: &'a Tree,
    imports: &'a Imports,
    folder: &'a Path,
}

impl Words<'_> {
    fn files(&self, circle: &[FileId]) -> String {
        let mut text = format!("{}: {} files import each other in a circle:", self.name, circle.len());
        for pair in self.imports.keys().filter(|(from, to)| circle.contains(from) && circle.contains(to)) {
            self.import(&mut text, *pair);
        }
        text
    }

    fn folders(&self, circle: &FolderCircle) -> String {
        let folder = self.short(&circle.folder);
        let mut text =
            format!("{}: {} children of {folder}/ import each other in a circle:", self.name, circle.children.len());
        for ((from, to), pairs) in &circle.imports {
            let child = |path: &Path| path.strip_prefix(&circle.folder).unwrap_or(path).display().to_string();
            let _ = write!(text, "\n  {} imports {}:", child(from), child(to));
            pairs.iter().take(LISTED).for_each(|&pair| self.import(&mut text, pair));
            if pairs.len() > LISTED {
                let _ = write!(text, "\n    and {} more", pairs.len() - LISTED);
            }
        }
        text
    }

    fn import(&self, text: &mut String, (from, to): (FileId, FileId)) {
        let place = &self.imports[&(from, to)];
        let path = |file: FileId| self.short(&self.tree.files[file].path);
        let _ = write!(text, "\n    {}:{} imports {} ({})", path(from), place.line, path(to), place.path);
    }

    fn short(&self, path: &Path) -> String {
        path.strip_prefix(self.folder).unwrap_or(path).display().to_string()
    }
}
