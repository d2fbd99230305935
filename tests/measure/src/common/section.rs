//! One benchmark's part of a Markdown file.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, Result};

const TITLE: &str = "# Performance

Each section is written by the recipe that it names, which replaces what it wrote before. Absolute figures are of the
machine that is named; ratios carry over to others.
";

/// Replaces the section of this name, or adds it at the end. Everything else stays as it is.
pub fn write(path: &Path, name: &str, text: &str) -> Result<()> {
    let old = match fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == ErrorKind::NotFound => TITLE.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    fs::write(path, replaced(&old, name, text)).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(old: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let section = format!("{begin}\n{text}{end}");
    let place = old.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    place.map_or_else(|| format!("{old}\n{section}\n"), |(before, after)| format!("{before}{section}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_is_replaced() {
        let first = replaced("# Title\n", "writes", "one\n");
        assert_eq!(first, "# Title\n\n<!-- writes -->\none\n<!-- /writes -->\n");
        let second = replaced(&format!("{first}more\n"), "writes", "two\n");
        assert_eq!(second, "# Title\n\n<!-- writes -->\ntwo\n<!-- /writes -->\nmore\n");
        assert!(replaced(&second, "scale", "three\n").starts_with(&second));
    }
}
