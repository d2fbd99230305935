//! The modules of one crate, and the files that they are written in.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Item, ItemImpl, ItemMod, Type};

use crate::{
    item,
    mention::{self, Import, Mention},
};

pub type FileId = usize;
pub type ModuleId = usize;

pub const ROOT: ModuleId = 0;

pub struct File {
    pub path: PathBuf,
    /// It has modules and imports only, so it stands for the files that it names.
    pub only_declares: bool,
}

#[derive(Default)]
pub struct Module {
    pub file: FileId,
    pub parent: Option<ModuleId>,
    pub children: BTreeMap<String, ModuleId>,
    /// Names of the items that it defines.
    pub items: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Paths in its code.
    pub mentions: Vec<Mention>,
    pub impls: Vec<Methods>,
}

/// The names that one `impl Type` block gives to a type.
pub struct Methods {
    pub of: Vec<String>,
    pub names: BTreeSet<String>,
}

#[derive(Default)]
pub struct Tree {
    pub files: Vec<File>,
    pub modules: Vec<Module>,
    /// Names of `macro_rules!`, and the file of each.
    pub macros: BTreeMap<String, FileId>,
}

type Sources<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// Reads the crate that starts with the file `root`. Tests are left out.
pub fn read(root: &Path, sources: Sources) -> Result<Tree> {
    let mut tree = Tree::default();
    let folder = root.parent().unwrap_or(Path::new("")).to_owned();
    tree.read_file(root, &folder, None, sources)?;
    Ok(tree)
}

impl Tree {
    /// Reads the module that is written in `path`; the files of its modules are in `folder`.
    fn read_file(
        &mut self,
        path: &Path,
        folder: &Path,
        parent: Option<ModuleId>,
        sources: Sources,
    ) -> Result<ModuleId> {
        let text = sources(path).with_context(|| format!("{} is missing", path.display()))?;
        let syntax = syn::parse_file(&text).with_context(|| format!("{} is not Rust", path.display()))?;
        let only_declares =
            syntax.items.iter().all(|item| matches!(item, Item::Mod(_) | Item::Use(_) | Item::ExternCrate(_)));
        self.files.push(File { path: path.to_owned(), only_declares });
        self.read_module(self.files.len() - 1, folder, parent, syntax.items, sources)
    }

    fn read_module(
        &mut self,
        file: FileId,
        folder: &Path,
        parent: Option<ModuleId>,
        items: Vec<Item>,
        sources: Sources,
    ) -> Result<ModuleId> {
        let id = self.modules.len();
        self.modules.push(Module { file, parent, ..Module::default() });
        for item in items {
            if item::is_test(&item) {
                continue;
            }
            match item {
                Item::Mod(child) => {
                    let name = item::name(&child.ident);
                    let child = self.read_child(id, folder, &name, child, sources)?;
                    self.modules[id].children.insert(name, child);
                }
                Item::Use(item) => self.modules[id].imports.extend(mention::imports(&item)),
                Item::Impl(item) => self.read_impl(id, item),
                item => self.read_item(id, item),
            }
        }
        Ok(id)
    }

    fn read_child(
        &mut self,
        parent: ModuleId,
        folder: &Path,
        name: &str,
        child: ItemMod,
        sources: Sources,
    ) -> Result<ModuleId> {
        let file = self.modules[parent].file;
        if let Some((_, items)) = child.content {
            return self.read_module(file, &folder.join(name), Some(parent), items, sources);
        }
        if child.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
            bail!("{}: #[path] hides where the module {name} is", self.files[file].path.display());
        }
        let flat = folder.join(name).with_extension("rs");
        let path = if sources(&flat).is_some() { flat } else { folder.join(name).join("mod.rs") };
        self.read_file(&path, &folder.join(name), Some(parent), sources)
            .with_context(|| format!("the module {name} of {}", self.files[file].path.display()))
    }

    fn read_impl(&mut self, id: ModuleId, mut item: ItemImpl) {
        item.items.retain(|part| !item::is_test(part));
        let of = match &*item.self_ty {
            Type::Path(of) => of.path.segments.iter().map(|segment| item::name(&segment.ident)).collect(),
            _ => Vec::new(),
        };
        if item.trait_.is_none() && !of.is_empty() {
            let names = item.items.iter().filter_map(item::defined).collect();
            self.modules[id].impls.push(Methods { of: of.clone(), names });
        }
        self.read_tokens(id, item.into_token_stream(), &of);
    }

    fn read_item(&mut self, id: ModuleId, item: Item) {
        let file = self.modules[id].file;
        if let Item::Macro(item) = &item
            && let Some(name) = &item.ident
        {
            self.macros.insert(item::name(name), file);
        }
        if let Item::ForeignMod(block) = &item {
            self.modules[id].items.extend(block.items.iter().filter_map(item::defined));
        }
        self.modules[id].items.extend(item::defined(&item));
        self.read_tokens(id, item.into_token_stream(), &[]);
    }

    fn read_tokens(&mut self, id: ModuleId, tokens: TokenStream, own_type: &[String]) {
        let (mentions, imports) = mention::mentions(tokens, own_type);
        self.modules[id].mentions.extend(mentions);
        self.modules[id].imports.extend(imports);
    }
}
