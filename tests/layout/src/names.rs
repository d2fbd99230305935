//! Which file defines what a path names.

use std::collections::BTreeMap;

use crate::{
    mention::Gives,
    tree::{FileId, Module, ModuleId, ROOT, Tree},
};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Module(ModuleId),
    /// An item, by the module that defines it and its name there.
    Item(ModuleId, String),
}

pub struct Names<'a> {
    tree: &'a Tree,
    /// Where the methods of each type are: those in `impl` blocks, by the type and the method's name.
    methods: BTreeMap<(Found, String), Vec<ModuleId>>,
}

/// A path goes through at most so many imports; more is a circle of re-exports.
const MAX_DEPTH: usize = 32;

impl<'a> Names<'a> {
    pub fn new(tree: &'a Tree) -> Self {
        let mut names = Self { tree, methods: BTreeMap::new() };
        let mut methods: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, module) in tree.modules.iter().enumerate() {
            for block in &module.impls {
                for of in names.resolve(id, &block.of, 0) {
                    for name in &block.names {
                        methods.entry((of.clone(), name.clone())).or_default().push(id);
                    }
                }
            }
        }
        names.methods = methods;
        names
    }

    /// The files that define what `path` names in the module `at`; none for what belongs to other crates.
    pub fn files(&self, at: ModuleId, path: &[String]) -> Vec<FileId> {
        let file = |found| match found {
            Found::Module(module) | Found::Item(module, _) => self.tree.modules[module].file,
        };
        self.resolve(at, path, 0).into_iter().map(file).collect()
    }

    /// The same for a single name, if it came from `use …::*`.
    pub fn files_through_globs(&self, at: ModuleId, name: &str) -> Vec<FileId> {
        let module = &self.tree.modules[at];
        let known = module.items.contains(name)
            || module.children.contains_key(name)
            || module.imports.iter().any(|import| import.gives == Gives::Name(name.to_owned()));
        if known { Vec::new() } else { self.files(at, &[name.to_owned()]) }
    }

    fn resolve(&self, at: ModuleId, path: &[String], depth: usize) -> Vec<Found> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        let mut found = match first.as_str() {
            "crate" => vec![Found::Module(ROOT)],
            "self" => vec![Found::Module(at)],
            "super" => Vec::from_iter(self.tree.modules[at].parent.map(Found::Module)),
            name => self.look_up(at, name, depth),
        };
        for name in rest {
            // A function may have the name of a module.
            if found.iter().any(|found| matches!(found, Found::Module(_))) {
                found.retain(|found| matches!(found, Found::Module(_)));
            }
            found = found.into_iter().flat_map(|found| self.step(found, name, depth)).collect();
        }
        found.sort();
        found.dedup();
        found
    }

    /// From what the path up to `name` leads to, on to `name`.
    fn step(&self, from: Found, name: &str, depth: usize) -> Vec<Found> {
        match from {
            Found::Module(module) if name == "super" => {
                Vec::from_iter(self.tree.modules[module].parent.map(Found::Module))
            }
            Found::Module(module) => {
                let found = self.look_up(module, name, depth);
                // What is not written there was made there by a macro.
                if found.is_empty() { vec![Found::Item(module, name.to_owned())] } else { found }
            }
            item => {
                let at = self.methods.get(&(item.clone(), name.to_owned()));
                let methods = at.into_iter().flatten().map(|&module| Found::Item(module, name.to_owned()));
                methods.chain([item]).collect()
            }
        }
    }

    /// What `name` means in a module, imports included.
    fn look_up(&self, at: ModuleId, name: &str, depth: usize) -> Vec<Found> {
        if depth > MAX_DEPTH {
            return Vec::new();
        }
        let module: &Module = &self.tree.modules[at];
        let mut found = Vec::from_iter(module.children.get(name).copied().map(Found::Module));
        if module.items.contains(name) {
            found.push(Found::Item(at, name.to_owned()));
        }
        if !found.is_empty() {
            return found;
        }
        let named = Gives::Name(name.to_owned());
        for import in module.imports.iter().filter(|import| import.gives == named) {
            // `use serde::…` in a crate that has no `serde` of its own: an item of another crate, which is passed on here.
            let is_itself = import.path.len() == 1 && import.path[0] == name;
            let target = if is_itself { Vec::new() } else { self.resolve(at, &import.path, depth + 1) };
            found.extend(if target.is_empty() { vec![Found::Item(at, name.to_owned())] } else { target });
        }
        if !found.is_empty() {
            return found;
        }
        for import in module.imports.iter().filter(|import| import.gives == Gives::All) {
            for from in self.resolve(at, &import.path, depth + 1) {
                match from {
                    Found::Module(from) if from != at => found.extend(self.look_up(from, name, depth + 1)),
                    _ => {}
                }
            }
        }
        found
    }
}
