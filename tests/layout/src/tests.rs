//! The check on small trees.

use std::{collections::BTreeMap, path::Path};

use crate::{circles, tree};

/// The problems of a crate whose files are `(path, text)`; the first is its root.
fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let texts: BTreeMap<&Path, &str> = files.iter().map(|(path, text)| (Path::new(*path), *text)).collect();
    let tree = tree::read(Path::new(files[0].0), &|path| texts.get(path).map(|text| (*text).to_owned()))
        .expect("the tree can be read");
    circles::problems("crate", &tree, Path::new(""))
}

/// Fails unless there is one problem, and it says all of `parts`; without parts, unless there is none.
fn assert_says(files: &[(&str, &str)], parts: &[&str]) {
    let found = problems(files);
    assert_eq!(found.len(), usize::from(!parts.is_empty()), "{found:#?}");
    for part in parts {
        assert!(found[0].contains(part), "{part:?} is not in {}", found[0]);
    }
}

/// Makes a test of each tree: its files, and what the one problem with it says.
macro_rules! trees {
    ($($name:ident: [$($file:expr),+ $(,)?] => [$($part:expr),* $(,)?];)+) => {
        $(#[test] fn $name() { assert_says(&[$($file),+], &[$($part),*]); })+
    };
}

trees! {
    imports_in_one_direction_are_fine: [
        ("lib.rs", "mod a; mod b; mod c; use a::A;"),
        ("a.rs", "use crate::b::B; use crate::c; pub struct A(B, c::C);"),
        ("b.rs", "use super::c::C; pub struct B(C);"),
        ("c.rs", "pub struct C;"),
    ] => [];

    two_files_in_a_circle: [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "\nuse crate::b::B;\npub struct A(B);"),
        ("b.rs", "use crate::a::A;\npub struct B(Box<A>);"),
    ] => [
        "2 files import each other in a circle",
        "a.rs:2 imports b.rs (crate::b::B)",
        "b.rs:1 imports a.rs (crate::a::A)",
    ];

    three_files_in_a_circle: [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::{b::{B, Other}, c::Unrelated as _}; pub struct A;"),
        ("b.rs", "use crate::c::C as D; pub struct B; pub struct Other;"),
        ("c.rs", "use crate::a::A; pub struct C; pub trait Unrelated {}"),
    ] => ["3 files", "a.rs:1 imports b.rs", "b.rs:1 imports c.rs (crate::c::C)", "c.rs:1 imports a.rs"];

    a_parent_that_has_code_of_its_own_is_in_the_circle: [
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod b; pub fn double(n: u8) -> u8 { b::next(n) }"),
        ("a/b.rs", "pub fn next(n: u8) -> u8 { super::double(n) }"),
    ] => ["a/mod.rs:1 imports a/b.rs (b::next)", "a/b.rs:1 imports a/mod.rs (super::double)"];

    a_function_that_has_the_name_of_a_module_is_not_meant_by_a_path_through_it: [
        ("lib.rs", "mod a; mod op; use op::Op; fn op() {} fn f() { a::run(); }"),
        ("a.rs", "use super::op::Op; pub fn run() {}"),
        ("op.rs", "pub struct Op;"),
    ] => [];

    names_that_come_through_a_glob_count: [
        ("lib.rs", "mod a; mod b; mod prelude;"),
        ("a.rs", "use crate::prelude::*; pub struct A(B);"),
        ("b.rs", "pub struct B; pub fn f() { crate::a::A; }"),
        ("prelude.rs", "pub use crate::{a::A, b::B};"),
    ] => ["2 files", "a.rs:1 imports b.rs (B)"];

    a_macro_counts_without_an_import: [
        ("lib.rs", "#[macro_use] mod a; mod b;"),
        ("a.rs", "macro_rules! twice { ($e:expr) => { $crate::b::two() * $e } }"),
        ("b.rs", "pub fn two() -> u8 { twice!(1) }"),
    ] => ["a.rs:1 imports b.rs", "b.rs:1 imports a.rs (twice)"];

    folders_in_a_circle_without_one_between_files: [
        ("lib.rs", "mod x; mod y;"),
        ("x/mod.rs", "pub mod a; pub mod b;"),
        ("x/a.rs", "use crate::y::a::Y; pub struct X(Y);"),
        ("x/b.rs", "pub struct Low;"),
        ("y.rs", "pub mod a;"),
        ("y/a.rs", "use crate::x::b::Low; pub struct Y(Low);"),
    ] => [
        "2 children of ",
        "x imports y:",
        "x/a.rs:1 imports y/a.rs (crate::y::a::Y)",
        "y imports x:",
        "y/a.rs:1 imports x/b.rs (crate::x::b::Low)",
    ];

    a_folder_and_a_file_beside_it_in_a_circle: [
        ("src/lib.rs", "mod top; mod x;"),
        ("src/top.rs", "use crate::x::a::X; pub struct Top(X);"),
        ("src/x/mod.rs", "pub mod a; pub mod b;"),
        ("src/x/a.rs", "pub struct X;"),
        ("src/x/b.rs", "use crate::top::Top; pub struct B(Top);"),
    ] => ["2 children of src/", "top.rs imports x", "x imports top.rs"];

    tests_are_left_out: [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; #[cfg(test)] mod tests; #[cfg(all(test, unix))] mod more { use crate::b::B; }"),
        ("b.rs", "use crate::a::A; pub struct B(A); impl B { #[cfg(test)] fn f() { crate::a::g(); } }"),
    ] => [];

    what_is_no_test_is_not_left_out: [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; #[cfg(not(test))] use crate::b::B;"),
        ("b.rs", "use crate::a::A; pub struct B(A);"),
    ] => ["a.rs:1 imports b.rs"];
}

#[test]
fn a_reexport_leads_to_the_file_that_defines_the_item() {
    let folder = [
        ("lib.rs", "mod a; mod folder;"),
        ("a.rs", "use crate::folder::B; pub struct A;"),
        ("folder/mod.rs", "mod b; mod c; pub use b::B; pub use c::*;"),
        ("folder/b.rs", "pub struct B;"),
        ("folder/c.rs", "use super::B; pub struct C(B);"),
    ];
    assert_says(&folder, &[]);

    let mut circle = folder;
    circle[3].1 = "use crate::folder::C; pub struct B;";
    assert_says(&circle, &["2 files", "folder/b.rs:1 imports folder/c.rs (crate::folder::C)"]);
}

#[test]
fn paths_in_the_code_are_imports() {
    let with = |body: &str| {
        let body = format!("pub struct A; {body}");
        problems(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", &body),
            ("b.rs", "pub struct B(crate::a::A); impl B { pub const N: u8 = 1; }"),
        ])
        .len()
    };
    assert_eq!(with("fn f() { let _ = crate::b::B::N; }"), 1);
    assert_eq!(with("fn f() { for _ in 0..super::b::B::N {} }"), 1);
    assert_eq!(with("fn f() { println!(\"{}\", vec![crate::b::B::N][0]); }"), 1);
    assert_eq!(with("fn f() { use crate::b; let _ = b::B::N; }"), 1);
    assert_eq!(with("#[derive(Serialize)] struct C { #[serde(with = \"crate::b\")] c: u8 }"), 1);
    assert_eq!(with("mod inner { use super::super::b::B; }"), 1);
    assert_eq!(with("pub(in crate::b) fn f() -> impl Sized + use<> { ::b::B; \"crate::b is text\" }"), 0);
    assert_eq!(with("fn f(b: C) -> u8 { b.b + std::b::N }"), 0);
}

#[test]
fn a_method_counts_where_its_impl_block_is() {
    let with = |body: &str| {
        let hub = format!("pub struct Hub; impl Hub {{ fn go(&self) {{ {body} }} fn plain(&self) {{}} }}");
        problems(&[
            ("lib.rs", "mod hub; mod binder;"),
            ("hub.rs", &hub),
            ("binder.rs", "use crate::hub::Hub; impl Hub { pub fn bind(&self) {} }"),
        ])
        .len()
    };
    assert_eq!(with("self.bind()"), 1);
    assert_eq!(with("Self::bind(self)"), 1);
    assert_eq!(with("Hub::bind(self)"), 1);
    assert_eq!(with("self.plain(); self.bind.len()"), 0);
}
