//! Listings: aligned columns for people, JSON for programs.

use clap::ValueEnum;
use serde_json::Value;

/// How listings are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns.
    Text,
    /// JSON.
    Json,
}

/// Writes a listing: `rows` of texts under `columns`, or `json`.
pub(super) fn list(format: Format, columns: &[&str], rows: &[Vec<String>], json: Value) {
    match format {
        Format::Json => println!("{json:#}"),
        Format::Text if rows.is_empty() => eprintln!("none"),
        Format::Text => print!("{}", table(columns, rows)),
    }
}

/// Writes one thing: its fields a line each, or `json`.
pub(super) fn show(format: Format, fields: &[(&str, String)], json: &Value) {
    match format {
        Format::Json => println!("{json:#}"),
        Format::Text => {
            let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
                println!("{name:width$}  {}", plain(value));
            }
        }
    }
}

/// Columns as wide as their widest cell.
pub(super) fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = columns.iter().map(|name| name.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut columns.iter().map(|name| name.to_uppercase()));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(|cell| plain(cell))));
    }
    text
}

/// A terminal obeys control characters, and names come from strangers.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_hold_no_control_characters() {
        let rows =
            [vec!["a".to_owned(), "long\u{1b}[31m".to_owned()], vec!["bcd".to_owned(), "x".to_owned()]];
        expect_test::expect![[r"
            ID   WHAT
            a    long�[31m
            bcd  x
        "]]
        .assert_eq(&table(&["id", "what"], &rows));
    }
}
