//! What `fuzz/run` starts from, and whatever it found: each input again, through the same functions.

use std::fs;
use std::path::Path;

use sciuro::fuzzing::{alertmanager, expression, http_config, matcher, priority, prometheus};

type Target = fn(&[u8]);

#[test]
fn the_corpus_holds() {
    let targets: [(&str, Target); 6] = [
        ("alertmanager", alertmanager),
        ("expression", expression),
        ("http-config", http_config),
        ("matcher", matcher),
        ("priority", priority),
        ("prometheus", prometheus),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    assert_eq!(fs::read_dir(&corpus).unwrap().count(), targets.len(), "a target is not replayed");
    for (target, run) in targets {
        let mut inputs = fs::read_dir(corpus.join(target)).unwrap().peekable();
        assert!(inputs.peek().is_some(), "{target} has no input");
        for input in inputs {
            let path = input.unwrap().path();
            eprintln!("{}", path.display()); // shown if it panics
            run(&fs::read(path).unwrap());
        }
    }
}
