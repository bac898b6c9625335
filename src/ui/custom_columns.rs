//! `-o custom-columns=NODE:.node,WHY:.message`, as kubectl prints them (`kubectl/pkg/cmd/get/customcolumn.go`).

use serde_json::Value;

use super::escape;
use super::jsonpath::Template;

/// kubectl's tabwriter: cells are followed by three spaces, and no column is narrower than six.
const GAP: usize = 3;
const NARROWEST: usize = 6;

#[derive(Debug, Clone, PartialEq)]
pub struct CustomColumns {
    columns: Vec<(String, Template)>,
}

impl CustomColumns {
    /// `HEADER:PATH,…`.
    pub fn parse(spec: &str) -> Result<Self, String> {
        let column = |part: &str| match part.split_once(':') {
            Some((header, path)) => Ok((header.to_owned(), Template::parse_relaxed(path)?)),
            None => {
                Err(format!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"))
            }
        };
        Ok(Self { columns: spec.split(',').map(column).collect::<Result<_, _>>()? })
    }

    /// A line for each of the `items`. Unlike kubectl's, a value with line breaks or tabs stays in its cell.
    pub fn lines(&self, items: &[Value], with_headers: bool) -> Result<Vec<String>, String> {
        let headers = || self.columns.iter().map(|(header, _)| escape(header).into_owned()).collect();
        let mut rows: Vec<Vec<String>> = with_headers.then(headers).into_iter().collect();
        for item in items {
            let cells = self.columns.iter().map(|(_, path)| Ok(escape(&path.cell(item)?).into_owned()));
            rows.push(cells.collect::<Result<_, String>>()?);
        }
        let mut widths = vec![NARROWEST; self.columns.len()];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (cell.chars().count() + GAP).max(*width);
            }
        }
        Ok(rows.iter().map(|row| line(row, &widths)).collect())
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let last = row.len().saturating_sub(1);
    let cells = row.iter().zip(widths).enumerate();
    cells
        .map(|(at, (cell, &width))| if at < last { format!("{cell:width$}") } else { cell.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn lines(spec: &str) -> Result<Vec<String>, String> {
        let items = [
            json!({"node": "w1", "priority": 1, "roles": ["a", "b"], "none": null, "more": {"b": 1, "a": [true]}}),
            json!({"node": "worker-27", "message": "one\u{1b}[2J\n\ttwo\r"}),
        ];
        CustomColumns::parse(spec)?.lines(&items, true)
    }

    #[test]
    fn columns_are_padded_as_kubectl_pads_them() {
        assert_eq!(
            lines("Node:.node,P:priority,MESSAGE:{.message}").unwrap(),
            [
                "Node        P        MESSAGE",
                "w1          1        <none>",
                "worker-27   <none>   one^[[2J\\n\\ttwo\\r"
            ]
        );
        assert_eq!(lines("P:.priority,N:.x.y").unwrap()[1], "1        <none>");
        assert_eq!(
            lines("A:.priority,B:.roles[0:9]").unwrap_err(),
            "array index out of bounds: index 8, length 2"
        );
    }

    #[test]
    fn values_are_shown_as_go_shows_them() {
        assert_eq!(
            lines("R:.roles,EACH:.roles[*],NULL:.none,MAP:.more").unwrap(),
            [
                "R        EACH     NULL     MAP",
                "[a b]    a,b      <nil>    map[a:[true] b:1]",
                "<none>   <none>   <none>   <none>"
            ]
        );
        assert_eq!(lines("A:").unwrap()[1], "<none>");
    }

    #[test]
    fn what_is_no_column_is_refused() {
        for spec in ["", "NODE", "NODE:.node,", "NODE:.node,X"] {
            assert!(lines(spec).unwrap_err().starts_with("unexpected custom-columns spec: "), "{spec}");
        }
        assert!(lines("A:{.a}{.b}").unwrap_err().starts_with("unexpected path string"));
        assert_eq!(lines("A:.a[").unwrap_err(), "unterminated array");
    }
}
