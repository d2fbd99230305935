//! Which file of a crate imports which.

use std::collections::BTreeMap;

use crate::{
    mention::{Gives, Mention},
    names::Names,
    tree::{FileId, ModuleId, Tree},
};

/// Where a file imports another, and by which path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub path: String,
}

/// By the importing and the imported file: the first place.
pub type Imports = BTreeMap<(FileId, FileId), Place>;

pub fn imports(tree: &Tree) -> Imports {
    let names = Names::new(tree);
    let mut imports = Imports::new();
    for (id, module) in tree.modules.iter().enumerate() {
        let mut add = |to: Vec<FileId>, line: usize, path: String| {
            for to in to {
                let is_node = |file: FileId| !tree.files[file].only_declares;
                if to != module.file && is_node(to) && is_node(module.file) {
                    let place = Place { line, path: path.clone() };
                    let first = imports.entry((module.file, to)).or_insert_with(|| place.clone());
                    *first = place.min(first.clone());
                }
            }
        };
        for import in &module.imports {
            let all = if import.gives == Gives::All { "::*" } else { "" };
            add(names.files(id, &import.path), import.line, import.path.join("::") + all);
        }
        for mention in &module.mentions {
            add(files(tree, &names, id, mention), mention.line, mention.path.join("::"));
        }
    }
    imports
}

fn files(tree: &Tree, names: &Names, at: ModuleId, mention: &Mention) -> Vec<FileId> {
    let [name] = mention.path.as_slice() else { return names.files(at, &mention.path) };
    if mention.is_macro
        && let Some(&file) = tree.macros.get(name)
    {
        return vec![file];
    }
    // A variable in small letters is no item.
    if !mention.is_macro && !mention.is_call && !name.starts_with(char::is_uppercase) {
        return Vec::new();
    }
    names.files_through_globs(at, name)
}
