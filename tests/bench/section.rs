//! One benchmark's part of a Markdown file.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, Result};

const BEGIN: &str = "<!-- bench-writes -->";
const END: &str = "<!-- /bench-writes -->";
const TITLE: &str = "# Performance

Each section is written by the recipe that it names, which replaces what it wrote before. Absolute figures are of the
machine that is named; ratios carry over to others.
";

/// Replaces the section, or adds it at the end. Everything else stays as it is.
///
/// # Errors
/// When the file cannot be read or written.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let old = match fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == ErrorKind::NotFound => TITLE.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    fs::write(path, replaced(&old, text)).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(old: &str, text: &str) -> String {
    let section = format!("{BEGIN}\n{text}{END}");
    let place = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    place.map_or_else(|| format!("{old}\n{section}\n"), |(before, after)| format!("{before}{section}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_is_replaced() {
        let first = replaced("# Title\n", "one\n");
        assert_eq!(first, format!("# Title\n\n{BEGIN}\none\n{END}\n"));
        assert_eq!(replaced(&format!("{first}more\n"), "two\n"), format!("# Title\n\n{BEGIN}\ntwo\n{END}\nmore\n"));
    }
}
