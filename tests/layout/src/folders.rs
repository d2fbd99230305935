//! Circles between folders: for each folder, among its direct children.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    circles,
    imports::Imports,
    tree::{FileId, Tree},
};

/// Children of one folder that import each other in a circle; at least one of them is a folder.
#[derive(Debug, PartialEq)]
pub struct FolderCircle {
    pub folder: PathBuf,
    pub children: Vec<PathBuf>,
    /// By the importing and the imported child: the imports between files of the two.
    pub imports: BTreeMap<(PathBuf, PathBuf), Vec<(FileId, FileId)>>,
}

pub fn folder_circles(tree: &Tree, imports: &Imports) -> Vec<FolderCircle> {
    let places: Vec<PathBuf> = tree.files.iter().map(|file| place(&file.path, tree)).collect();
    let folders: BTreeSet<&Path> = places.iter().flat_map(|place| place.ancestors().skip(1)).collect();
    folders.into_iter().flat_map(|folder| circles_of(folder, &places, imports)).collect()
}

fn circles_of(folder: &Path, places: &[PathBuf], imports: &Imports) -> Vec<FolderCircle> {
    let child = |file: FileId| Some(folder.join(places[file].strip_prefix(folder).ok()?.iter().next()?));
    let mut between: BTreeMap<(PathBuf, PathBuf), Vec<(FileId, FileId)>> = BTreeMap::new();
    for &(from, to) in imports.keys() {
        if let (Some(a), Some(b)) = (child(from), child(to))
            && a != b
        {
            between.entry((a, b)).or_default().push((from, to));
        }
    }
    let found = circles::circles(between.keys().map(|(from, to)| (from.as_path(), to.as_path())));
    let of = |circle: Vec<&Path>| FolderCircle {
        folder: folder.to_owned(),
        imports: between
            .iter()
            .filter(|((from, to), _)| circle.contains(&from.as_path()) && circle.contains(&to.as_path()))
            .map(|(pair, files)| (pair.clone(), files.clone()))
            .collect(),
        children: circle.into_iter().map(Path::to_owned).collect(),
    };
    let has_folder = |circle: &Vec<&Path>| circle.iter().any(|child| !places.iter().any(|place| place == child));
    found.into_iter().filter(has_folder).map(of).collect()
}

/// Where a file counts: `a.rs` beside a folder `a` with its modules counts as `a/mod.rs`.
fn place(path: &Path, tree: &Tree) -> PathBuf {
    let folder = path.with_extension("");
    let has_folder = tree.files.iter().any(|file| file.path.starts_with(&folder));
    if has_folder { folder.join("mod.rs") } else { path.to_owned() }
}
