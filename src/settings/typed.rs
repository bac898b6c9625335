//! The flags of a command line as they were typed: what is to be typed next has them again.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use crate::cli::TypedFlag;

/// In the order in which they were typed.
pub(super) fn flags<'c>(arguments: impl Iterator<Item = &'c Arg>, typed: &ArgMatches) -> Vec<TypedFlag> {
    let mut found: Vec<(usize, TypedFlag)> = Vec::new();
    for argument in arguments {
        let (id, Some(name)) = (argument.get_id().as_str(), argument.get_long()) else { continue };
        if typed.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let mut places = typed.indices_of(id).into_iter().flatten();
        for values in typed.get_raw_occurrences(id).into_iter().flatten() {
            let values: Vec<String> = values.map(|value| value.to_string_lossy().into_owned()).collect();
            let place = places.by_ref().take(values.len().max(1)).min().unwrap_or_default();
            let heading = argument.get_help_heading().map(str::to_owned);
            found.push((
                place,
                TypedFlag { name: name.to_owned(), heading, words: words(argument, name, &values) },
            ));
        }
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, flag)| flag).collect()
}

fn words(argument: &Arg, name: &str, values: &[String]) -> Vec<String> {
    let flag = format!("--{name}");
    let takes_one = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let delimiter = argument.get_value_delimiter().map(String::from).unwrap_or_default();
    let value = values.join(&delimiter);
    match value.as_str() {
        _ if !takes_one => vec![flag],
        // What is there without a value is true.
        "true" if argument.is_require_equals_set() => vec![flag],
        _ if argument.is_require_equals_set() || value.starts_with('-') => vec![format!("{flag}={value}")],
        _ => vec![flag, value],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::cli::Command;
    use crate::settings::{Environment, parse};

    #[track_caller]
    fn typed(words: &[&str]) -> Vec<String> {
        let words = ["kubectl-sciuro", "remediate"].iter().chain(words).map(Into::into).collect();
        let environment = Environment::from([("SCIURO_HELPER_NAMESPACE".into(), "sciuro".into())]);
        let (cli, _) = parse(words, &environment).unwrap();
        let Command::Remediate(args) = cli.command else { unreachable!() };
        args.typed.iter().map(|flag| flag.words.join(" ")).collect()
    }

    #[test]
    fn f9_d1_what_was_typed_is_known_as_it_was_typed() {
        assert_eq!(typed(&["w1"]), [""; 0], "nothing of the environment");
        let words = [
            "--context",
            "prod",
            "w1",
            "-y",
            "--force",
            "--ignore-daemonsets=false",
            "--skip",
            "collect,drain",
            "--reboot-command=reboot {node} now",
            "--grace-period",
            "-1",
            "-s",
            "https://api:6443",
            "--confirm",
            "w1",
            "--confirm=w2",
            "--drain-timeout",
            "1m",
            "--timeout",
            "2m",
            "-v",
            "4",
        ];
        let expected = [
            "--context prod",
            "--yes",
            "--force",
            "--ignore-daemonsets=false",
            "--skip collect,drain",
            "--reboot-command reboot {node} now",
            "--grace-period=-1",
            "--server https://api:6443",
            "--confirm w1",
            "--confirm w2",
            "--drain-timeout 2m",
            "--v 4",
        ];
        assert_eq!(typed(&words), expected);
    }
}
