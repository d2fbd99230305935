//! What an item of the source says about itself: its name, and whether it is a test.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::{Attribute, ForeignItem, ImplItem, Item};

pub fn name(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

/// The names that an item defines in its module.
pub fn names(item: &Item) -> Vec<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::ForeignMod(block) => return block.items.iter().filter_map(foreign_name).collect(),
        _ => return Vec::new(),
    };
    vec![name(ident)]
}

fn foreign_name(item: &ForeignItem) -> Option<String> {
    match item {
        ForeignItem::Fn(item) => Some(name(&item.sig.ident)),
        ForeignItem::Static(item) => Some(name(&item.ident)),
        ForeignItem::Type(item) => Some(name(&item.ident)),
        _ => None,
    }
}

/// The name of a function or constant of an `impl` block.
pub fn part_name(part: &ImplItem) -> Option<String> {
    match part {
        ImplItem::Const(part) => Some(name(&part.ident)),
        ImplItem::Fn(part) => Some(name(&part.sig.ident)),
        _ => None,
    }
}

pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

pub fn part_attributes(part: &ImplItem) -> &[Attribute] {
    match part {
        ImplItem::Const(part) => &part.attrs,
        ImplItem::Fn(part) => &part.attrs,
        ImplItem::Macro(part) => &part.attrs,
        ImplItem::Type(part) => &part.attrs,
        _ => &[],
    }
}

/// Whether one of the attributes is a `#[cfg(…)]` that asks for a test, and not for the absence of one.
pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .any(|attribute| attribute.meta.require_list().is_ok_and(|list| asks_for_test(list.tokens.clone())))
}

fn asks_for_test(tokens: TokenStream) -> bool {
    let mut negated = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "test" => return true,
            TokenTree::Ident(ident) => negated = ident == "not",
            TokenTree::Group(group) if !negated && asks_for_test(group.stream()) => return true,
            _ => negated = false,
        }
    }
    false
}
