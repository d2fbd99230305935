//! What a piece of source says about itself: the name that it defines, and whether it is a test.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::ToTokens;

pub fn name(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

/// The name that an item, or a part of an `impl` block, defines: what follows `fn`, `struct` and the like.
pub fn defined(item: &impl ToTokens) -> Option<String> {
    const KEYWORDS: [&str; 8] = ["const", "enum", "fn", "static", "struct", "trait", "type", "union"];
    let mut keyword = false;
    for token in item.to_token_stream() {
        match token {
            TokenTree::Ident(ident) if KEYWORDS.iter().any(|known| ident == known) => keyword = true,
            // `const unsafe fn` and `static mut` have words between.
            TokenTree::Ident(ident) if keyword && !["unsafe", "async", "extern", "mut"].iter().any(|w| ident == w) => {
                return Some(name(&ident));
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return None,
            _ => {}
        }
    }
    None
}

/// Whether one of the attributes that `item` starts with is a `#[cfg(…)]` that asks for a test, and not for the absence
/// of one.
pub fn is_test(item: &impl ToTokens) -> bool {
    let mut tokens = item.to_token_stream().into_iter();
    while let (Some(TokenTree::Punct(mark)), Some(TokenTree::Group(attribute))) = (tokens.next(), tokens.next()) {
        let mut parts = attribute.stream().into_iter();
        if mark.as_char() == '#'
            && matches!(parts.next(), Some(TokenTree::Ident(ident)) if ident == "cfg")
            && asks_for_test(parts.collect())
        {
            return true;
        }
    }
    false
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
