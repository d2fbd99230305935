//! A table in Markdown.

/// With these names of its columns.
pub fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | ")).replace("  |", " |");
    let rule = format!("|{}\n", "---|".repeat(N));
    let rows: String = rows.into_iter().map(|row| line(&row)).collect();
    line(&head.map(str::to_owned)) + &rule + &rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_cell_is_one_space() {
        let rows = [["one".to_owned(), String::new()]];
        assert_eq!(table(["", "n"], rows), "| | n |\n|---|---|\n| one | |\n");
    }
}
