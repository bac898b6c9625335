//! What a terminal shows after some bytes.

/// The lines on the screen of a terminal of this height, as it moves its cursor, and whether the cursor is shown.
/// Colours are left out.
pub fn screen(output: &str, height: usize) -> (Vec<String>, bool) {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column, mut shows_cursor) = (0, 0, true);
    let mut characters = output.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                if row == lines.len() {
                    lines.push(Vec::new());
                }
                if lines.len() > height {
                    lines.remove(0);
                    row -= 1;
                }
            }
            '\u{1b}' => {
                assert_eq!(characters.next(), Some('['), "an escape sequence");
                let mut parameter = String::new();
                let command = loop {
                    let next = characters.next().expect("the end of an escape sequence");
                    if next.is_ascii_alphabetic() {
                        break next;
                    }
                    parameter.push(next);
                };
                match (parameter.as_str(), command) {
                    ("?25", 'h' | 'l') => shows_cursor = command == 'h',
                    (_, 'm') => {}
                    (count, 'A') => {
                        let count: usize = count.parse().expect("a number");
                        assert!(count <= row, "the cursor cannot leave the screen");
                        row -= count;
                    }
                    ("2", 'K') => lines[row].clear(),
                    ("0", 'J') => {
                        lines.truncate(row + 1);
                        lines[row].truncate(column);
                    }
                    ("2", 'J') => lines.iter_mut().for_each(Vec::clear),
                    ("", 'H') => (row, column) = (0, 0),
                    other => panic!("the terminal does not know {other:?}"),
                }
            }
            other => {
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = other;
                column += 1;
            }
        }
    }
    let lines = lines.into_iter().map(|line| line.into_iter().collect::<String>().trim_end().to_owned());
    (lines.collect(), shows_cursor)
}
