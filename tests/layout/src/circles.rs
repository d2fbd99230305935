//! The circles of a crate, in words.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
};

use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};

use crate::{
    imports::{Imports, imports},
    tree::{FileId, Tree},
};

/// From one folder to another, so many imports are listed.
const LISTED: usize = 3;

/// One paragraph for each circle between files or folders of the crate `name`; paths are shown relative to `base`.
pub fn problems(name: &str, tree: &Tree, base: &Path) -> Vec<String> {
    let imports = imports(tree);
    let crate_ = Crate { name, tree, imports: &imports, base };
    let mut problems: Vec<String> =
        circles(imports.keys().copied()).iter().map(|circle| crate_.files(circle)).collect();
    let places: Vec<PathBuf> = tree.files.iter().map(|file| place(&file.path, tree)).collect();
    let folders: BTreeSet<&Path> = places.iter().flat_map(|place| place.ancestors().skip(1)).collect();
    problems.extend(folders.into_iter().flat_map(|folder| crate_.children(folder, &places)));
    problems
}

/// The strongly connected components of more than one node.
fn circles<N: Copy + Ord + std::hash::Hash>(edges: impl Iterator<Item = (N, N)>) -> Vec<Vec<N>> {
    let mut circles = tarjan_scc(&DiGraphMap::<N, ()>::from_edges(edges));
    circles.retain(|circle| circle.len() > 1);
    circles.sort();
    circles
}

/// Where a file counts: `a.rs` beside a folder `a` with its modules counts as `a/mod.rs`.
fn place(path: &Path, tree: &Tree) -> PathBuf {
    let folder = path.with_extension("");
    let has_folder = tree.files.iter().any(|file| file.path.starts_with(&folder));
    if has_folder { folder.join("mod.rs") } else { path.to_owned() }
}

struct Crate<'a> {
    name: &'a str,
    tree: &'a Tree,
    imports: &'a Imports,
    base: &'a Path,
}

impl Crate<'_> {
    fn files(&self, circle: &[FileId]) -> String {
        let mut text = format!("{}: {} files import each other in a circle:", self.name, circle.len());
        for pair in self.imports.keys().filter(|(from, to)| circle.contains(from) && circle.contains(to)) {
            self.import(&mut text, *pair);
        }
        text
    }

    /// The circles among the direct children of a folder, of which at least one is a folder.
    fn children(&self, folder: &Path, places: &[PathBuf]) -> Vec<String> {
        let child = |file: FileId| Some(folder.join(places[file].strip_prefix(folder).ok()?.iter().next()?));
        let mut between: BTreeMap<(PathBuf, PathBuf), Vec<(FileId, FileId)>> = BTreeMap::new();
        for &(from, to) in self.imports.keys() {
            if let (Some(a), Some(b)) = (child(from), child(to))
                && a != b
            {
                between.entry((a, b)).or_default().push((from, to));
            }
        }
        let is_file = |child: &&Path| places.iter().any(|place| place == child);
        let mut problems = Vec::new();
        for circle in circles(between.keys().map(|(from, to)| (from.as_path(), to.as_path()))) {
            if circle.iter().all(is_file) {
                continue;
            }
            let (name, count) = (self.name, circle.len());
            let mut text =
                format!("{name}: {count} children of {}/ import each other in a circle:", self.short(folder));
            let within = |(from, to): &(PathBuf, PathBuf)| circle.contains(&&**from) && circle.contains(&&**to);
            for ((from, to), pairs) in between.iter().filter(|(pair, _)| within(pair)) {
                let child = |path: &Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
                let _ = write!(text, "\n  {} imports {}:", child(from), child(to));
                pairs.iter().take(LISTED).for_each(|&pair| self.import(&mut text, pair));
                if pairs.len() > LISTED {
                    let _ = write!(text, "\n    and {} more", pairs.len() - LISTED);
                }
            }
            problems.push(text);
        }
        problems
    }

    fn import(&self, text: &mut String, (from, to): (FileId, FileId)) {
        let place = &self.imports[&(from, to)];
        let path = |file: FileId| self.short(&self.tree.files[file].path);
        let _ = write!(text, "\n    {}:{} imports {} ({})", path(from), place.line, path(to), place.path);
    }

    fn short(&self, path: &Path) -> String {
        path.strip_prefix(self.base).unwrap_or(path).display().to_string()
    }
}
