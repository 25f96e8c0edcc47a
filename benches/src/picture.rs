//! Pictures of tables: a group of bars a row, a bar a column.

use std::fmt::Write;

/// A table that was printed as Markdown: a row a workload, a column a contestant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

impl Picture {
    /// All tables in a text, in their order.
    pub fn all_in(text: &str) -> Vec<Picture> {
        let mut tables: Vec<Picture> = Vec::new();
        let mut is_in_table = false;
        for line in text.lines() {
            match cells(line) {
                // The line below the columns' names is of dashes alone.
                Some((name, _)) if is_in_table && name.chars().all(|sign| matches!(sign, '-' | ':')) => {}
                Some(row) if is_in_table => tables.last_mut().expect("it has begun").rows.push(row),
                Some((_, columns)) => tables.push(Picture { columns, rows: Vec::new() }),
                None => {}
            }
            is_in_table = line.starts_with('|');
        }
        tables
    }

    /// The bars, each as long as its share of the row's worst, with the figure and its unit. Cells
    /// without a number have none; of several numbers, the first counts.
    pub fn svg(&self, title: &str, unit: &str) -> String {
        draw(title, unit, &self.columns, &self.rows)
    }
}

/// The first cell of a row of a table, and the others.
fn cells(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim_end().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = line.split('|').map(|cell| cell.trim().to_string());
    Some((cells.next()?, cells.collect()))
}

/// The picture of these rows; see [`Picture::svg`].
pub(crate) fn draw(
    title: &str,
    unit: &str,
    columns: &[impl AsRef<str>],
    rows: &[(impl AsRef<str>, Vec<String>)],
) -> String {
    const NAMES: usize = 190;
    const BARS: usize = 500;
    const BAR: usize = 13;
    let mut body = String::new();
    let mut y = 44;
    for (name, cells) in rows {
        let cells: Vec<_> =
            columns.iter().zip(cells).filter_map(|(column, cell)| Some((column, first_number(cell)?))).collect();
        let worst = cells.iter().map(|(_, (_, number))| *number).fold(0.0, f64::max);
        let _ = writeln!(body, "<text x='10' y='{}' font-weight='bold'>{}</text>", y + 12, escaped(name.as_ref()));
        y += BAR + 6;
        for (index, (column, (text, number))) in cells.iter().enumerate() {
            // If all are zero, so are the bars.
            let width = (number / worst.max(f64::MIN_POSITIVE) * BARS as f64).round();
            let colour = if index == 0 { "#2a6f97" } else { "#b8c4cc" };
            let (middle, end) = (y + 10, NAMES as f64 + width + 6.0);
            let _ = write!(
                body,
                "<text x='{}' y='{middle}' text-anchor='end'>{}</text>\n\
                 <rect x='{NAMES}' y='{y}' width='{width}' height='{}' fill='{colour}'/>\n\
                 <text x='{end}' y='{middle}'>{text}{unit}</text>\n",
                NAMES - 8,
                escaped(column.as_ref()),
                BAR - 2,
            );
            y += BAR;
        }
        y += 10;
    }
    let width = NAMES + BARS + 90;
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{y}' font-family='sans-serif' font-size='11'>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='10' y='24' font-size='15' font-weight='bold'>{}</text>\n{body}</svg>\n",
        escaped(title)
    )
}

/// The number that a cell begins with, as text and as a number.
fn first_number(cell: &str) -> Option<(&str, f64)> {
    let text = cell.split([' ', ',']).next()?;
    Some((text, text.parse().ok()?))
}

/// Without the signs that Markdown and SVG have for themselves.
fn escaped(text: &str) -> String {
    text.replace('`', "").replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
before
| ns / instructions | one | two |
|------------------------------|
| a & b             | 10 / 5 | 40 / – |

| | x |
|---|---:|
| c | 3, 2 |
| d | – |
after";

    #[test]
    fn each_table_of_a_text_is_a_picture() {
        let tables = Picture::all_in(TEXT);
        assert_eq!(tables.len(), 2);
        assert_eq!(tables[0].columns, ["one", "two"]);
        assert_eq!(tables[0].rows, [("a & b".to_string(), vec!["10 / 5".to_string(), "40 / –".to_string()])]);
        assert_eq!(tables[1].rows.len(), 2);
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_of_the_worst_and_a_cell_without_a_number_has_none() {
        let tables = Picture::all_in(TEXT);
        let svg = tables[0].svg("title", " ns");
        assert!(svg.contains("width='125'") && svg.contains("width='500'"), "a fourth, and the whole: {svg}");
        assert!(svg.contains(">10 ns<") && svg.contains(">a &amp; b<"), "{svg}");
        let svg = tables[1].svg("title", "");
        assert!(svg.contains(">3<") && svg.contains(">d<"), "{svg}");
        // The background is one, too.
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
    }
}
