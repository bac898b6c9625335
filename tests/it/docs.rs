//! README and `docs/`: every code block is made by the program, or checked; every link leads somewhere.
//!
//! What kind a block is stands behind its language: `sh` and `console made=NAME` are enough for most. A block of no known kind
//! fails. `make docs` writes what the program makes.

mod commands;
mod documents;
mod flags;
mod made;
mod markdown;
mod picture;
mod stage;

use markdown::Page;
use sciuro::settings::Environment;

/// A block, and what is wrong with it.
fn wrong(page: &Page) -> Vec<String> {
    let mut found = Vec::new();
    // What a reader has exported holds further down.
    let mut environment = Environment::new();
    for block in page.blocks() {
        let problems = match block.kind() {
            ("sh", "") => commands::problems(&block.text, &mut environment),
            ("crontab", "") => commands::problems_of_crontab(&block.text),
            ("console", made) if made.starts_with("made=") => {
                commands::problems_of_transcript(&block.text, &environment)
            }
            ("yaml" | "json" | "toml", kind) => documents::problems(kind, &block.text),
            ("text", "drawing") => Vec::new(),
            (language, kind) => {
                vec![format!("no kind of block: {language:?} {kind:?}; see tests/it/docs.rs")]
            }
        };
        found.extend(problems.into_iter().map(|problem| format!("{}:{}: {problem}", page.name, block.line)));
    }
    found
}

#[test]
fn every_block_is_checked() {
    let found: Vec<String> = markdown::pages().iter().flat_map(wrong).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The check itself: an unmarked block, a flag that is not there, a file that is not there, a key that no flag has.
#[test]
fn what_is_wrong_is_found() {
    for (block, says) in [
        ("```\nkubectl get nodes\n```\n", "no kind of block"),
        ("    indented\n", "no kind of block"),
        ("```sh\nkubectl sciuro sync --receivr x\n```\n", "--receivr"),
        ("```sh\nkubectl sciuro sync --alertmanager http://am:9093\n```\n", "--receiver"),
        ("```sh\nkubectl apply -f deploy/nothing.yaml\n```\n", "deploy/nothing.yaml"),
        ("```sh\nmake nothing\n```\n", "no target"),
        ("```sh\nfrobnicate\n```\n", "frobnicate"),
        ("```sh\nif\n```\n", "bash"),
        ("```yaml config\nrecevier: x\n```\n", "recevier"),
        ("```yaml excerpt=deploy/rules/calico.yaml\nnot: there\n```\n", "not in"),
        ("```json\n{\n```\n", "JSON"),
        ("```yaml\na: 1\n```\n", "no kind"),
    ] {
        let page = Page { name: "README.md".into(), text: block.into() };
        let found = wrong(&page).join("\n");
        assert!(found.contains(says), "{block}: {found:?}");
    }
}

/// They are pasted from a terminal of 80 columns: a line that is broken there is two commands.
#[test]
fn examples_in_help_texts_can_be_pasted() {
    for help in flags::examples() {
        assert_eq!(commands::problems(&help, &mut Environment::new()), Vec::<String>::new());
        let broken: Vec<_> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert_eq!(broken, Vec::<&str>::new());
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = markdown::pages_with_links();
    let found: Vec<String> = pages.iter().flat_map(Page::broken_links).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    let page = Page { name: "docs/x.md".into(), text: "[a](nowhere.md) [b](../README.md#nowhere)".into() };
    assert_eq!(page.broken_links().len(), 2);
}

#[test]
fn transcripts_and_tables_are_up_to_date() {
    for page in markdown::pages() {
        crate::support::is_current(&page.name, &page.with_parts_made(made::part));
    }
}

#[test]
fn picture_is_up_to_date() {
    crate::support::is_current("docs/picture.svg", &picture::svg());
}

/// A registry of one's own has to have just that one.
#[test]
fn the_image_of_helper_pods_is_named() {
    assert!(Page::read("docs/remediate.md").text.contains(sciuro::remedy::reboot::helper::DEFAULT_IMAGE));
}

/// An exit code that a person meets is one that README helps with.
#[test]
fn every_exit_code_has_its_section() {
    let page = Page::read("README.md");
    let (_, help) = page.text.split_once("## Troubleshooting").expect("a section");
    for code in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130] {
        assert!(help.contains(&format!("\n| {code} ")) || help.contains(&format!("\n| {code}, ")), "{code}");
    }
}

/// What only the real servers and tools can tell.
mod only {
    mod control_plane {
        use crate::docs::{commands, documents, markdown};
        use crate::support::World;

        #[test]
        fn manifests_rules_and_routes_are_accepted() {
            let world = World::control_plane();
            let mut checked = 0;
            for page in markdown::pages() {
                for block in page.blocks() {
                    let ("yaml", kind) = block.kind() else { continue };
                    checked += usize::from(documents::is_accepted(&world, kind, &block.text));
                }
            }
            assert!(checked >= 3, "{checked} blocks for tools");
        }

        /// Without changing anything.
        #[test]
        fn kubectl_knows_its_flags() {
            let world = World::control_plane();
            let blocks: Vec<_> = markdown::pages().iter().flat_map(markdown::Page::blocks).collect();
            let shell = blocks.iter().filter(|block| block.kind() == ("sh", ""));
            let lines: Vec<_> = shell.flat_map(|block| commands::for_kubectl(&block.text)).collect();
            assert!(lines.len() >= 6, "{lines:#?}");
            for words in lines {
                commands::is_known_to_kubectl(&world, &words);
            }
        }
    }
}
