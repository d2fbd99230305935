//! The paths and names that a piece of source mentions, before anybody knows what they mean.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::{ItemUse, UseTree, spanned::Spanned};

use crate::item;

/// A path in the code (`crate::a::b`), or a single name.
#[derive(Clone, Debug, PartialEq)]
pub struct Mention {
    pub path: Vec<String>,
    pub line: usize,
    /// A `!` follows: it may be a macro of another file, without an import.
    pub is_macro: bool,
    /// Arguments follow.
    pub is_call: bool,
}

/// One leaf of a `use` item.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    pub path: Vec<String>,
    pub line: usize,
    pub gives: Gives,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Gives {
    Name(String),
    /// `*`: everything that the module at the path has.
    All,
}

/// The leaves of a `use` item; none when it starts with `::` and so leads to another crate.
pub fn imports(item: &ItemUse) -> Vec<Import> {
    let mut leaves = Vec::new();
    if item.leading_colon.is_none() {
        collect(&item.tree, &mut Vec::new(), &mut leaves);
    }
    leaves
}

fn collect(tree: &UseTree, path: &mut Vec<String>, leaves: &mut Vec<Import>) {
    let line = tree.span().start().line;
    let depth = path.len();
    match tree {
        UseTree::Path(tree) => {
            path.push(item::name(&tree.ident));
            collect(&tree.tree, path, leaves);
        }
        UseTree::Group(tree) => tree.items.iter().for_each(|tree| collect(tree, path, leaves)),
        UseTree::Glob(_) => leaves.push(Import { path: path.clone(), line, gives: Gives::All }),
        UseTree::Name(tree) => {
            let name = item::name(&tree.ident);
            if name != "self" {
                path.push(name);
            }
            let gives = Gives::Name(path.last().cloned().unwrap_or_default());
            leaves.push(Import { path: path.clone(), line, gives });
        }
        UseTree::Rename(tree) => {
            let name = item::name(&tree.ident);
            if name != "self" || depth == 0 {
                path.push(name);
            }
            leaves.push(Import { path: path.clone(), line, gives: Gives::Name(item::name(&tree.rename)) });
        }
    }
    path.truncate(depth);
}

/// What `tokens` mention, those inside of macros included, and the `use` items inside of functions. In an `impl` block
/// of the type `own_type`, `Self::name` and `self.name()` are mentions of that type's `name`.
pub fn mentions(tokens: TokenStream, own_type: &[String]) -> (Vec<Mention>, Vec<Import>) {
    let mut scan = Scan { own_type, mentions: Vec::new(), imports: Vec::new() };
    scan.tokens(tokens);
    (scan.mentions, scan.imports)
}

struct Scan<'a> {
    own_type: &'a [String],
    mentions: Vec<Mention>,
    imports: Vec<Import>,
}

impl Scan<'_> {
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at += match &tokens[at] {
                TokenTree::Group(group) => self.group(group),
                TokenTree::Literal(literal) => self.literal(literal),
                TokenTree::Punct(_) => skipped(&tokens[at..]),
                TokenTree::Ident(ident) if ident == "use" => self.import(&tokens[at..]),
                TokenTree::Ident(ident) if ident == "pub" => 1 + usize::from(is_visibility(tokens.get(at + 1))),
                TokenTree::Ident(_) => self.path(&tokens[at..]),
            };
        }
    }

    fn group(&mut self, group: &Group) -> usize {
        self.tokens(group.stream());
        1
    }

    /// Attributes name functions in strings: `#[serde(with = "crate::seconds")]`.
    fn literal(&mut self, literal: &proc_macro2::Literal) -> usize {
        let text = literal.to_string();
        let path: Vec<String> = text.trim_matches('"').split("::").map(str::to_owned).collect();
        let starts = ["crate", "self", "super"].contains(&path[0].as_str()) && path.len() > 1;
        let is_name = |part: &String| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        if starts && path.iter().all(is_name) {
            self.mentions.push(Mention { path, line: literal.span().start().line, is_macro: false, is_call: false });
        }
        1
    }

    /// A `use` inside of a function; `use<'a>` of a return type is none.
    fn import(&mut self, tokens: &[TokenTree]) -> usize {
        let is_end = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';');
        let Some(end) = tokens.iter().position(is_end) else { return 1 };
        match syn::parse2::<ItemUse>(tokens[..=end].iter().cloned().collect()) {
            Ok(item) => {
                self.imports.extend(imports(&item));
                end + 1
            }
            Err(_) => 1,
        }
    }

    fn path(&mut self, tokens: &[TokenTree]) -> usize {
        let (path, length) = path(tokens);
        let line = tokens[0].span().start().line;
        let is_macro = is_punct(tokens.get(length), '!') && !is_punct(tokens.get(length + 1), '=');
        let is_call = is_arguments(tokens.get(length));
        let mut mention = |path| self.mentions.push(Mention { path, line, is_macro, is_call });
        let of_own_type = |name: &String| self.own_type.iter().chain([name]).cloned().collect();
        match path.as_slice() {
            [own] if own == "self" || own == "Self" => {
                if own == "self"
                    && !self.own_type.is_empty()
                    && is_punct(tokens.get(1), '.')
                    && let Some(TokenTree::Ident(method)) = tokens.get(2)
                    && (is_arguments(tokens.get(3)) || is_colons(&tokens[3..]))
                {
                    mention(of_own_type(&item::name(method)));
                    return 3;
                }
            }
            [own, name, ..] if own == "Self" => {
                if !self.own_type.is_empty() {
                    mention(of_own_type(name));
                }
            }
            _ => mention(path),
        }
        length
    }
}

/// The path that `tokens` start with, and how many tokens it has.
fn path(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    let mut at = 0;
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        path.push(item::name(ident));
        at += 1;
        if !is_colons(&tokens[at..]) || !matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
            break;
        }
        at += 2;
    }
    (path, at)
}

/// How many tokens go with a punctuation mark: the name after `.` or `'` is a field, a method or a lifetime, and the
/// path after `::` belongs to another crate or to a type that stands before it.
fn skipped(tokens: &[TokenTree]) -> usize {
    if is_colons(tokens) {
        return 2 + path(&tokens[2..]).1;
    }
    if is_punct(tokens.first(), '.') && is_punct(tokens.get(1), '.') {
        return 2;
    }
    let names_next = is_punct(tokens.first(), '.') || is_punct(tokens.first(), '\'');
    1 + usize::from(names_next && matches!(tokens.get(1), Some(TokenTree::Ident(_))))
}

fn is_colons(tokens: &[TokenTree]) -> bool {
    is_punct(tokens.first(), ':') && is_punct(tokens.get(1), ':')
}

fn is_punct(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

fn is_arguments(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
}

/// `pub(crate)`, `pub(super)`, `pub(in crate::a)`.
fn is_visibility(token: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = token else { return false };
    let first = group.stream().into_iter().next();
    let words = ["crate", "super", "self", "in"];
    group.delimiter() == Delimiter::Parenthesis
        && matches!(first, Some(TokenTree::Ident(word)) if words.iter().any(|known| word == known))
}
