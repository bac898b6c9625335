//! Text to nodes, as `util/jsonpath/parser.go` does it.

use std::ops::Range;

/// Filters and unions are templates of their own; deeper ones are not read.
const DEEPEST: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// What stands in one pair of braces.
    List(Vec<Node>),
    Field(String),
    Slice(Slice),
    Filter {
        left: Vec<Node>,
        /// With the operator; without, it is enough that the left side finds something.
        right: Option<(String, Vec<Node>)>,
    },
    Union(Vec<Vec<Node>>),
    Wildcard,
    Recursive,
    /// `range` and `end`.
    Word(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// `[start:end:step]`; what is not given is `None`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice {
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) step: Option<i64>,
    /// One index was given: `[3]`.
    pub(super) is_index: bool,
}

pub(super) fn template(text: &str) -> Result<Vec<Node>, String> {
    Parser { input: text, position: 0, depth: 0 }.template()
}

struct Parser<'t> {
    input: &'t str,
    position: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn template(&mut self) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        loop {
            let rest = self.rest();
            let end = rest.find('{').unwrap_or(rest.len());
            if end > 0 {
                nodes.push(Node::Text(rest[..end].to_owned()));
            }
            if end == rest.len() {
                return Ok(nodes);
            }
            self.position += end + 1;
            nodes.push(Node::List(self.action()?));
        }
    }

    fn rest(&self) -> &'t str {
        &self.input[self.position..]
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.position += next.len_utf8();
        Some(next)
    }

    /// What was read since `start`.
    fn since(&self, start: usize) -> &'t str {
        &self.input[start..self.position]
    }

    /// Reads as long as it `goes_on`, and returns that.
    fn read_while(&mut self, goes_on: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let read = &rest[..rest.find(|next| !goes_on(next)).unwrap_or(rest.len())];
        self.position += read.len();
        read
    }

    /// An expression of its own: the first pair of braces of `{text}`.
    fn nested(&self, text: &str) -> Result<Vec<Node>, String> {
        if self.depth == DEEPEST {
            return Err("too many nested expressions".to_owned());
        }
        let text = format!("{{{text}}}");
        let nodes = Parser { input: &text, position: 0, depth: self.depth + 1 }.template()?;
        match nodes.into_iter().next() {
            Some(Node::List(list)) => Ok(list),
            _ => Ok(Vec::new()),
        }
    }

    /// What stands between braces, up to the closing one.
    fn action(&mut self) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        loop {
            let start = self.position;
            if self.rest().starts_with("[?(") {
                self.position += 3;
                nodes.push(self.filter()?);
                continue;
            }
            if self.rest().starts_with("..") {
                self.recursive(&mut nodes)?;
                continue;
            }
            match self.next() {
                None | Some('\n' | '\r') => return Err("unclosed action".to_owned()),
                Some('}') => return Ok(nodes),
                Some(' ' | '@' | '$') => {} // the current object
                Some('[') => self.array(start, &mut nodes)?,
                Some(quote @ ('"' | '\'')) => nodes.push(self.quoted(start, quote)?),
                Some('.') => nodes.push(self.field()),
                Some(first) if first == '+' || first == '-' || first.is_ascii_digit() => {
                    self.read_while(|next| next == '.' || next.is_ascii_digit());
                    nodes.push(number(self.since(start))?);
                }
                Some(first) if is_alphanumeric(first) => {
                    self.read_while(|next| !is_terminator(next));
                    nodes.push(match self.since(start) {
                        "true" => Node::Bool(true),
                        "false" => Node::Bool(false),
                        word => Node::Word(word.to_owned()),
                    });
                }
                Some(other) => {
                    return Err(format!(
                        "unrecognized character in action: U+{:04X} '{other}'",
                        u32::from(other)
                    ));
                }
            }
        }
    }

    fn recursive(&mut self, nodes: &mut Vec<Node>) -> Result<(), String> {
        if nodes.last() == Some(&Node::Recursive) {
            return Err("invalid multiple recursive descent".to_owned());
        }
        self.position += 2;
        nodes.push(Node::Recursive);
        if self.rest().starts_with(is_alphanumeric) {
            nodes.push(self.field());
        }
        Ok(())
    }

    fn field(&mut self) -> Node {
        let start = self.position;
        loop {
            let before = self.position;
            match self.next() {
                Some('\\') => {
                    self.next();
                }
                Some(next) if !is_terminator(next) => {}
                _ => {
                    self.position = before;
                    break;
                }
            }
        }
        match self.since(start) {
            "*" => Node::Wildcard,
            name => Node::Field(name.replace('\\', "")),
        }
    }

    fn quoted(&mut self, start: usize, quote: char) -> Result<Node, String> {
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated quoted string".to_owned()),
                Some(next) if next == quote && !self.is_escaped() => break,
                Some(_) => {}
            }
        }
        let text = self.since(start);
        let inside = &text[1..text.len() - 1];
        let unquoted = unquote(inside, quote);
        unquoted.map(Node::Text).ok_or_else(|| format!("unquote string {text} error invalid syntax"))
    }

    /// There is a backslash before what was read last.
    fn is_escaped(&self) -> bool {
        self.position.checked_sub(2).and_then(|at| self.input.as_bytes().get(at)) == Some(&b'\\')
    }

    fn array(&mut self, start: usize, nodes: &mut Vec<Node>) -> Result<(), String> {
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated array".to_owned()),
                Some(']') => break,
                Some(_) => {}
            }
        }
        let text = self.since(start);
        let text = match &text[1..text.len() - 1] {
            "*" => ":",
            other => other,
        };
        if text.contains(',') {
            let parts = text.split(',').map(|part| self.nested(&format!("[{}]", part.trim_matches(' '))));
            nodes.push(Node::Union(parts.collect::<Result<_, _>>()?));
            return Ok(());
        }
        let key = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        if let Some(key) = key.filter(|key| !key.contains('\'')) {
            nodes.extend(self.nested(&format!(".{key}"))?);
            return Ok(());
        }
        nodes.push(Node::Slice(slice(text)?));
        Ok(())
    }

    fn filter(&mut self) -> Result<Node, String> {
        let start = self.position;
        let (mut quote, mut is_closed) = (None, false);
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated filter".to_owned()),
                Some(next @ ('"' | '\'')) => match quote {
                    None => quote = Some(next),
                    Some(quote) => is_closed |= next == quote && !self.is_escaped(),
                },
                Some(')') if quote.is_some() == is_closed => break,
                Some(_) => {}
            }
        }
        let text = self.since(start);
        let text = &text[..text.len() - 1];
        if self.next() != Some(']') {
            return Err("unclosed array expect ]".to_owned());
        }
        Ok(match comparison(text) {
            None => Node::Filter { left: self.nested(text)?, right: None },
            Some((left, operator, right)) => Node::Filter {
                left: self.nested(left)?,
                right: Some((text[operator].to_owned(), self.nested(right)?)),
            },
        })
    }
}

/// Left side, operator, right side: `^([^!<>=]+)([!<>=]+)(.+?)$`.
fn comparison(text: &str) -> Option<(&str, Range<usize>, &str)> {
    const OPERATORS: [char; 4] = ['!', '<', '>', '='];
    let start = text.find(OPERATORS).filter(|&start| start > 0)?;
    let length = text[start..].find(|next| !OPERATORS.contains(&next)).unwrap_or(text.len() - start);
    let mut end = start + length;
    if end == text.len() {
        // The right side takes at least one character, even from the operator.
        end -= 1;
    }
    (end > start).then(|| (&text[..start], start..end, &text[end..]))
}

fn number(text: &str) -> Result<Node, String> {
    if let Ok(number) = text.parse() {
        return Ok(Node::Int(number));
    }
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.map(Node::Float).ok_or_else(|| format!("cannot parse number {text}"))
}

fn slice(text: &str) -> Result<Slice, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_number =
        |part: &&str| part.strip_prefix('-').unwrap_or(part).chars().all(|digit| digit.is_ascii_digit());
    if parts.len() > 3 || !parts.iter().all(is_number) {
        return Err(format!("invalid array index {text}"));
    }
    let number = |at: usize| match parts.get(at) {
        None | Some(&"") => Ok(None),
        Some(part) => part.parse().map(Some).map_err(|_| format!("array index {part} is not a number")),
    };
    Ok(Slice { start: number(0)?, end: number(1)?, step: number(2)?, is_index: parts.len() == 1 })
}

/// Go's `strconv.UnquoteChar` over a text. `None`: it is not written as Go writes strings.
fn unquote(text: &str, quote: char) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            if next == quote {
                return None;
            }
            bytes.extend(next.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let escape = rest.next()?;
        let mut digits = |count: usize, radix: u32, first: Option<char>| {
            let digits: String = first.into_iter().chain(rest.by_ref()).take(count).collect();
            let are_digits =
                digits.chars().count() == count && digits.chars().all(|digit| digit.is_digit(radix));
            u32::from_str_radix(&digits, radix).ok().filter(|_| are_digits)
        };
        match escape {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            'x' => bytes.push(u8::try_from(digits(2, 16, None)?).ok()?),
            '0'..='7' => bytes.push(u8::try_from(digits(3, 8, Some(escape))?).ok()?),
            'u' | 'U' => {
                let code = digits(if escape == 'u' { 4 } else { 8 }, 16, None)?;
                bytes.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).bytes());
            }
            '\\' => bytes.push(b'\\'),
            _ if escape == quote => bytes.extend(quote.encode_utf8(&mut [0; 4]).bytes()),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_terminator(next: char) -> bool {
    matches!(next, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn is_alphanumeric(next: char) -> bool {
    next == '_' || next.is_alphanumeric()
}
