//! The configuration file: its schema is made of the flags that the file takes.

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Arg, ArgAction, CommandFactory};
use sciuro::cli::Cli;
use sciuro::settings::{self, Environment, Failure};
use serde_json::{Map, Value, json};

use super::validator;
use crate::support::is_current;

const EXAMPLE: &str = "schemas/config.example.yaml";

/// What a command says to a file, or nothing if it takes it.
fn refusal(command: &str, file: &Path) -> Option<String> {
    let words = ["kubectl-sciuro", command, "--config", file.to_str().unwrap()].map(Into::into).to_vec();
    match settings::parse(words, &Environment::new()) {
        Ok(_) => None,
        Err(Failure::Settings(error)) => Some(error.to_string() + "\n" + &error.hints().join("\n")),
        Err(Failure::Clap(error)) => Some(error.to_string()),
    }
}

pub(crate) fn refusal_of(command: &str, text: &str) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    refusal(command, file.path())
}

/// The keys that the file takes, as the program itself lists them.
pub(crate) fn keys() -> Vec<String> {
    let refusal = refusal_of("version", "no-such-key: 1").expect("an unknown key");
    let (_, keys) = refusal.split_once("allowed are: ").expect(&refusal);
    keys.trim().split(", ").map(str::to_owned).collect()
}

fn schema() -> Value {
    let cli = Cli::command();
    let mut properties = Map::new();
    for key in keys() {
        let mut uses: Vec<(String, &Arg)> = Vec::new();
        if let Some(global) = find(&cli, &key) {
            uses.push((String::new(), global));
        }
        for command in cli.get_subcommands() {
            uses.extend(find(command, &key).map(|argument| (command.get_name().to_owned(), argument)));
        }
        properties.insert(key, property(&uses));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:sciuro.dev:v1alpha1:Configuration",
        "title": "Configuration of kubectl sciuro",
        "description": "Each key is a flag's name without the dashes; a flag that is typed and its SCIURO_ variable come before it. Flags that lose data, lift a protection or say what one run is for are taken from the command line only.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn find<'c>(command: &'c clap::Command, key: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|argument| argument.get_long() == Some(key))
}

fn property(uses: &[(String, &Arg)]) -> Value {
    let mut texts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (command, argument) in uses {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        texts.entry(help).or_default().push(command);
    }
    let description = if texts.len() == 1 {
        texts.into_keys().next().unwrap()
    } else {
        let parts: Vec<_> =
            texts.iter().map(|(help, commands)| format!("{}: {help}", commands.join(", "))).collect();
        parts.join("; ")
    };
    let mut values: Vec<Value> = uses.iter().map(|(_, argument)| value(argument)).collect();
    values.dedup();
    let mut property = if values.len() == 1 { values.remove(0) } else { json!({ "anyOf": values }) };
    property["description"] = json!(description);
    property
}

fn value(argument: &Arg) -> Value {
    let one = scalar(argument);
    if matches!(argument.get_action(), ArgAction::Append) {
        json!({"anyOf": [one, {"type": "array", "items": one}]})
    } else {
        one
    }
}

fn scalar(argument: &Arg) -> Value {
    let allowed = argument.get_possible_values();
    let name = argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match name {
        _ if matches!(argument.get_action(), ArgAction::SetTrue) => json!({"type": "boolean"}),
        "BOOL" => json!({"type": "boolean"}),
        _ if !allowed.is_empty() => {
            json!({"enum": allowed.iter().map(clap::builder::PossibleValue::get_name).collect::<Vec<_>>()})
        }
        "N" | "LEVEL" | "PERCENT" => json!({"type": "integer", "minimum": 0}),
        // A bare number is seconds.
        "DURATION" => json!({"type": ["string", "integer"], "pattern": "^[0-9.]+[0-9a-z.µ]*$", "minimum": 0}),
        _ => json!({"type": ["string", "number"]}),
    }
}

#[test]
fn schema_is_up_to_date() {
    is_current("schemas/config.json", &format!("{:#}\n", schema()));
}

/// A list in a list, or a mapping, is no value of any flag.
#[test]
fn every_key_takes_values_only() {
    let schema = validator("config.json");
    for key in keys() {
        for text in ["[[1]]", "{a: 1}"] {
            let file = format!("{key}: {text}");
            assert!(!schema.is_valid(&serde_saphyr::from_str::<Value>(&file).unwrap()), "{file}");
        }
    }
}

#[test]
fn keys_for_the_command_line_are_in_neither() {
    let schema = validator("config.json");
    for key in ["yes", "confirm", "override", "purge", "force", "uninstall", "nonsense"] {
        assert!(!schema.is_valid(&json!({ key: true })), "{key}");
        assert!(refusal_of("status", &format!("{key}: true")).is_some(), "{key}");
    }
}

/// A flag that takes no value on the command line is true or false in the file, as in the environment.
#[test]
fn bare_flags_are_true_or_false() {
    for (text, refused) in [("true", false), ("false", false), ("perhaps", true)] {
        let refusal = refusal_of("status", &format!("no-headers: {text}"));
        assert_eq!(refusal.is_some(), refused, "{refusal:?}");
        assert!(refusal.is_none_or(|refusal| refusal.contains(":1: no-headers: invalid value 'perhaps'")));
    }
    let environment = Environment::from([("SCIURO_SHOW_LABELS".to_owned(), "true".to_owned())]);
    let (cli, _) =
        settings::parse(["kubectl-sciuro", "status"].map(Into::into).to_vec(), &environment).unwrap();
    let sciuro::cli::Command::Status(args) = cli.command else { panic!("status") };
    assert!(args.show_labels);
}

#[test]
fn the_example_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# yaml-language-server: $schema=config.json\n"), "{text}");
    let document: Value = serde_saphyr::from_str(&text).unwrap();
    let errors: Vec<_> = validator("config.json").iter_errors(&document).map(|e| e.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    for command in ["status", "sync", "check", "version"] {
        assert_eq!(refusal(command, &path), None);
    }
}
