//! Tables for people.

/// Rows of cells, in columns as wide as their widest cell.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. A name that begins with `>` is that of a column of numbers,
    /// which are aligned to the right.
    pub(super) fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|name| (*name).to_owned()).collect()] }
    }

    /// Adds a row, which has a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Whether the table has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The names of the columns and the rows, without spaces at their ends.
    pub(super) fn lines(&self) -> Vec<String> {
        let Some(head) = self.rows.first() else { return Vec::new() };
        let numbers: Vec<bool> = head.iter().map(|name| name.starts_with('>')).collect();
        let shown = |cell: &str| cell.strip_prefix('>').unwrap_or(cell).to_owned();
        let head: Vec<String> = head.iter().map(|name| shown(name)).collect();
        let rows: Vec<_> = std::iter::once(&head).chain(self.rows.iter().skip(1)).collect();
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let width = |column| rows.iter().map(|row| cell(row, column).chars().count()).max();
        let widths: Vec<_> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
        let line = |row: &&Vec<String>| {
            let cells =
                widths.iter().zip(&numbers).enumerate().map(|(column, (&width, number))| {
                    let cell = cell(row, column);
                    if *number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        rows.iter().map(line).collect()
    }
}

/// A text of clients or plugins without the control characters that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(&["NAME", ">COUNT"]);
        assert!(table.is_empty());
        table.row(["größer".to_owned(), "7".to_owned()]);
        table.row(["a\x1b[2J".to_owned(), "1234567".to_owned()]);
        let expected = ["NAME      COUNT", "größer        7", "a\u{fffd}[2J   1234567"];
        assert_eq!(table.lines(), expected);
    }
}
