#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn data() -> Value {
    json!({
        "kind": "List", "name": "x", "n": 7, "f": 1.5, "big": 1e22, "small": 1e-7, "u": u64::MAX, "null": null, "yes": true,
        "labels": {"a.b/c": "dotted", "plain": "p"},
        "rows": [
            {"node": "w1", "p": 1, "roles": ["a", "b"], "m": "a <b> & \"c\"\n", "x": null},
            {"node": "w2", "p": 8, "roles": []},
            {"node": "w3", "p": 5, "stale": true},
        ],
    })
}

fn print(template: &str) -> Result<String, String> {
    Template::parse(template)?.print(&data())
}

#[track_caller]
fn prints(template: &str, expected: &str) {
    assert_eq!(print(template).as_deref(), Ok(expected), "{template}");
}

#[track_caller]
fn fails(template: &str, expected: &str) {
    assert_eq!(print(template).unwrap_err(), expected, "{template}");
}

#[test]
fn paths() {
    prints("{.kind} and {.name}", "List and x");
    prints("{.rows[*].node}", "w1 w2 w3");
    prints(
        "{.rows[0].node}{.rows[-1].node}{.rows[1:].node}{.rows[:2].node}{.rows[::2].node}",
        "w1w3w2 w3w1 w2w1 w3",
    );
    prints("{.rows[*]['node','p']}", "w1 w2 w3 1 8 5");
    prints("{.rows[0,2].node}", "w1 w3");
    prints("{..node}", "w1 w2 w3");
    prints(r"{.labels.a\.b/c} {.labels['a\.b/c']} {.labels.*}", "dotted dotted dotted p");
    prints("{.none}{.none.of.it}{.name.x}{.}", "");
    prints("{$.kind}{@.kind}", "ListList");
}

#[test]
fn ranges() {
    prints("{range .rows[*]}{.node}{\"\\t\"}{.p}{'\\n'}{end}", "w1\t1\nw2\t8\nw3\t5\n");
    prints("{range .rows[*]}{.node}:{range .roles[*]}<{@}>{end};{end}.", "w1:<a><b>;w2:;w3:;.");
    prints("{range .none[*]}{.x}{end}after", "after");
    fails("{end}", "not in range, nothing to end");
}

#[test]
fn filters() {
    prints("{.rows[?(@.node==\"w2\")].p}", "8");
    prints("{.rows[?(@.p>=5)].node} {.rows[?(@.p<5)].node} {.rows[?(@.p!=5)].node}", "w2 w3 w1 w1 w2");
    prints("{.rows[?(@.stale)].node} {.rows[?(@.stale==true)].node}", "w3 w3");
    prints("{.rows[?(@.node==')]')].node}", "");
    fails("{.rows[?(@.p>\"x\")].node}", "incompatible types for comparison");
    fails("{.rows[?(@.p=5)].node}", "unrecognized filter operator =");
    fails("{.labels[?(@.p==5)]}", "map[a.b/c:dotted plain:p] is not array or slice and cannot be filtered");
}

#[test]
fn values_are_printed_as_go_prints_them() {
    prints(
        "{.n} {.f} {.big} {.small} {.u} {.null} {.yes}",
        "7 1.5 1e+22 1e-07 1.8446744073709552e+19 null true",
    );
    prints(
        "{.rows[0]}",
        r#"{"m":"a \u003cb\u003e \u0026 \"c\"\n","node":"w1","p":1,"roles":["a","b"],"x":null}"#,
    );
    prints("{.rows[0].m}", "a <b> & \"c\"\n");
    prints("{.rows[0].node.*}", "119 49");
    prints(r#"{"\u00fc\x41\101\"'"}{'"'}\n"#, "üAA\"'\"\\n");
}

#[test]
fn what_is_no_template_is_refused() {
    fails("{.a", "unclosed action");
    fails("{.a[}", "unterminated array");
    fails("{.a[x]}", "invalid array index x");
    fails("{.a[?(@.b==\"c]}", "unterminated filter");
    fails("{.a[?(@.b)}", "unclosed array expect ]");
    fails("{\"a}", "unterminated quoted string");
    fails("{\"\\q\"}", "unquote string \"\\q\" error invalid syntax");
    fails("{....a}", "invalid multiple recursive descent");
    fails("{foo}", "unrecognized identifier foo");
    fails("{%}", "unrecognized character in action: U+0025 '%'");
    fails("{.rows[7]}", "array index out of bounds: index 7, length 3");
    fails("{.rows[2:1]}", "starting index 2 is greater than ending index 1");
    fails("{.rows[::0]}", "step must be > 0");
    fails("{.kind[0]}", "string is not array or slice");
}

#[test]
fn a_single_path_may_be_written_without_braces() {
    for path in ["{.rows[1].node}", "{rows[1].node}", ".rows[1].node", "rows[1].node"] {
        let found = Template::parse_relaxed(path).unwrap().first(&data()).unwrap();
        assert_eq!(found, Some(json!("w2")), "{path}");
    }
    assert_eq!(Template::parse_relaxed("").unwrap().first(&data()), Ok(None));
    for path in ["{}", "{.a", "{.a}{.b}", "a}"] {
        assert!(Template::parse_relaxed(path).unwrap_err().starts_with("unexpected path string"), "{path}");
    }
}

#[test]
fn a_template_cannot_run_for_ever() {
    fails(&"{range @}".repeat(40), "the template finds too much");
    fails(&"{range .rows}".repeat(100), "too many nested ranges");
    fails(&format!("{{{}}}", "['.','.']".repeat(40)), "the template finds too much");
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            "[?(",
            ")]",
            "(",
            "..",
            ".",
            "@",
            "$",
            "*",
            ".rows",
            "node",
            ".p",
            "[*]",
            "[-1]",
            "[0:2:1]",
            "['a','b']",
            "'",
            "\"",
            "\\",
            ",",
            ":",
            "-",
            "==",
            "<",
            "!=",
            "range ",
            "end",
            "{range .rows[*]}",
            "{end}",
            "{.rows[?(@.p>1)].node}",
            " ",
            "\n",
            "9223372036854775807",
            "-9223372036854775808",
            "ü",
            "1.5",
            "true",
            "{\"\\n\"}",
            "\\x",
            "\\u00e",
        ])
        .prop_map(str::to_owned),
        "(?s).{0,3}",
    ]
}

proptest! {
    #[test]
    fn arbitrary_templates_never_panic(parts in proptest::collection::vec(part(), 0..14)) {
        let template = parts.concat();
        for text in [template.clone(), format!("{{{template}}}"), format!("{{.rows[{template}]}}"), format!("{{.rows[?({template})]}}")] {
            let _ = print(&text);
            if let Ok(path) = Template::parse_relaxed(&text) {
                let _ = path.cell(&data());
                let _ = path.first(&data());
            }
        }
    }
}
