#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{json, yaml};
use crate::ui::escape;

/// What a terminal obeys, nobody sees, or YAML takes for something else.
const TEXTS: &str = "(?s)[ -~\u{0}-\u{1f}\u{7f}-\u{a0}\u{ad}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{feff}\u{fe0f}\u{fffd}-\u{ffff}\u{e0041}🔥ü]{0,40}\
     |(?s).{0,40}\
     |(?i:yes|no|y|n|on|off|true|false|null|~|=|<<|---|\\.\\.\\.|\\.inf|\\.nan|0x1f|0o7|010|1e3|1_000|1:30|2026-11-30|\\[\\]|\\{\\}|\\*a|&a|!a|%a|@a|`a)\
     |[ \t\n]{0,3}[-?:,#|>'\"]?[ \t\n]{0,2}[a-z]{0,3}: ?#?[a-z]{0,2}[ \t\n]{0,3}";

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        8 => TEXTS.prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<i32>().prop_map(|thousandths| Value::from(f64::from(thousandths) / 1000.0)),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((TEXTS, inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// It is the same to whoever reads it, and has nothing that is escaped once more on its way out.
    #[test]
    fn t15_f_documents_read_back_to_what_they_are_of(document in documents()) {
        let (json, yaml) = (json(&document), yaml(&document));
        prop_assert_eq!(&serde_json::from_str::<Value>(&json).unwrap(), &document, "{}", json);
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        prop_assert_eq!(&read, &document, "{}", yaml);
        for line in json.lines().chain(yaml.lines()) {
            prop_assert_eq!(escape(line), line);
        }
    }
}

#[test]
fn yaml_has_the_layout_of_kubectl() {
    let document = json!({
        "a": [], "b": {}, "c": [{"x": 1, "xs": ["z", [2, [3]], {}]}, null, "two words", "1.0"],
        "d": {"e": {"f": true}}, "g h": "no", "i": 1e300, "j": "a: b", "k": "w1\u{202e}\u{e0041}\n",
    });
    assert_eq!(
        yaml(&document),
        r#"a: []
b: {}
c:
- x: 1
  xs:
  - z
  - - 2
    - - 3
  - {}
- null
- two words
- "1.0"
d:
  e:
    f: true
g h: "no"
i: 1.0e+300
j: "a: b"
k: "w1\u202e\U000e0041\n"
"#
    );
    assert_eq!([yaml(&json!("x")), yaml(&json!([])), yaml(&json!({}))], ["x\n", "[]\n", "{}\n"]);
}
