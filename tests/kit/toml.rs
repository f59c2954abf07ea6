//! A `millrace.toml` that is put together from parts.

/// The tables of a `millrace.toml`. A table that several parts have is written once, with
/// the lines of all of them.
#[derive(Debug, Default)]
pub(crate) struct Toml {
    /// Each header, with the lines below it; the first is what stands above all tables.
    tables: Vec<(String, String)>,
}

impl Toml {
    /// Adds a part: lines above all tables, and tables.
    pub(crate) fn add(&mut self, part: &str) {
        // Within one part each header is a table of its own: it may belong to the entry of
        // an array before it.
        let before = self.tables.len();
        let mut current = self.table("", before);
        for line in part.lines().map(str::trim) {
            if line.starts_with('[') {
                current = self.table(line, before);
            } else {
                let lines = &mut self.tables[current].1;
                lines.push_str(line);
                lines.push('\n');
            }
        }
    }

    /// The place of a table: one of the first `before`, or a new one.
    fn table(&mut self, header: &str, before: usize) -> usize {
        let found = self.tables[..before].iter().position(|(other, _)| other == header);
        found.filter(|_| !header.starts_with("[[")).unwrap_or_else(|| {
            self.tables.push((header.to_owned(), String::new()));
            self.tables.len() - 1
        })
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        let table = |(header, lines): &(String, String)| match header.as_str() {
            "" => lines.clone(),
            header => format!("{header}\n{lines}"),
        };
        self.tables.iter().map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Toml;

    #[test]
    fn a_table_of_several_parts_is_written_once() {
        let mut toml = Toml::default();
        toml.add("[admin]\nlisten = 1");
        toml.add("top = 2\n[admin]\ntoken = 3\n[[a]]\n[a.b]\nc = 4\n[[a]]\n[a.b]\nc = 5");
        let tables = "top = 2\n[admin]\nlisten = 1\ntoken = 3\n";
        let arrays = "[[a]]\n[a.b]\nc = 4\n[[a]]\n[a.b]\nc = 5\n";
        assert_eq!(toml.text(), format!("{tables}{arrays}"));
    }
}
