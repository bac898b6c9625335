//! Pages, their code blocks, their links, and the parts of them that are made.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) struct Page {
    /// Its path from the root.
    pub(super) name: String,
    pub(super) text: String,
}

pub(super) struct Block {
    pub(super) line: usize,
    /// What stands behind the backticks.
    pub(super) info: String,
    pub(super) text: String,
}

impl Block {
    /// The language, and what we say about it.
    pub(super) fn kind(&self) -> (&str, &str) {
        self.info.split_once(' ').unwrap_or((&self.info, ""))
    }
}

/// The pages whose blocks are checked.
pub(super) fn pages() -> Vec<Page> {
    let mut names = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    names.iter().map(|name| Page::read(name)).collect()
}

/// All others have links at least.
pub(super) fn pages_with_links() -> Vec<Page> {
    let more = [
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "deploy/README.md",
        "schemas/README.md",
        "tests/cluster/README.md",
    ];
    pages().into_iter().chain(more.map(Page::read)).collect()
}

impl Page {
    pub(super) fn read(name: &str) -> Self {
        let text =
            std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), text }
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut is_open = false;
        for (event, range) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let info = match kind {
                        CodeBlockKind::Fenced(info) => info.to_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    let line = self.text[..range.start].lines().count() + 1;
                    blocks.push(Block { line, info, text: String::new() });
                    is_open = true;
                }
                Event::Text(text) if is_open => {
                    if let Some(block) = blocks.last_mut() {
                        block.text.push_str(&text);
                    }
                }
                Event::End(TagEnd::CodeBlock) => is_open = false,
                _ => {}
            }
        }
        blocks
    }

    fn events(&self) -> impl Iterator<Item = (Event<'_>, std::ops::Range<usize>)> {
        Parser::new_ext(&self.text, Options::ENABLE_TABLES).into_offset_iter()
    }

    /// The names that headings can be linked to by, as GitHub makes them.
    fn anchors(&self) -> Vec<String> {
        let mut anchors = Vec::new();
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        let mut heading: Option<String> = None;
        for (event, _) in self.events() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let text = heading.take().unwrap_or_default().to_lowercase();
                    let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
                    let slug: String = text.chars().filter(is_kept).collect::<String>().replace(' ', "-");
                    let before = count.entry(slug.clone()).or_default();
                    anchors.push(if *before == 0 { slug } else { format!("{slug}-{before}") });
                    *before += 1;
                }
                _ => {}
            }
        }
        anchors
    }

    pub(super) fn broken_links(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (event, _) in self.events() {
            let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else {
                continue;
            };
            if ["https://", "http://", "mailto:"].iter().any(|scheme| dest_url.starts_with(scheme)) {
                continue;
            }
            let (path, anchor) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
            let beside = Path::new(&self.name).parent().unwrap_or(Path::new(""));
            let target = if path.is_empty() { PathBuf::from(&self.name) } else { plain(&beside.join(path)) };
            let is_there = if target == Path::new(&self.name) {
                anchor.is_empty() || self.anchors().iter().any(|known| known == anchor)
            } else if anchor.is_empty() {
                root().join(&target).exists()
            } else {
                root().join(&target).exists()
                    && Self::read(&target.to_string_lossy()).anchors().iter().any(|known| known == anchor)
            };
            if !is_there {
                broken.push(format!("{}: {dest_url} leads nowhere", self.name));
            }
        }
        broken
    }

    /// The page with each `console made=NAME` block, and what stands between `<!-- made: NAME -->` and `<!-- /made -->`, as
    /// `part` has it now.
    pub(super) fn with_parts_made(&self, part: fn(&str) -> String) -> String {
        let mut text = String::new();
        let mut until: Option<&str> = None;
        for line in self.text.split_inclusive('\n') {
            if let Some(end) = until {
                if line.trim_end() != end {
                    continue;
                }
                until = None;
            }
            text.push_str(line);
            if let Some(name) = line.trim_end().strip_prefix("```console made=") {
                text.push_str(part(name).trim_end());
                text.push('\n');
                until = Some("```");
            } else if let Some(name) = line.trim_end().strip_prefix("<!-- made: ") {
                text.push('\n');
                text.push_str(part(name.trim_end_matches(" -->")).trim_end());
                text.push_str("\n\n");
                until = Some("<!-- /made -->");
            }
        }
        assert_eq!(until, None, "{}: a part that is made has no end", self.name);
        text
    }
}

/// Without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}
