//! What `status` is to show, validated.

use crate::cli::{StatusArgs, TypedFlag};
use crate::cluster::LeaseKey;
use crate::core::prefix::Prefix;
use crate::error::{Error, Result};
use crate::ui::CustomColumns;
use crate::ui::jsonpath::Template;

use super::sync::node_name;

#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub struct StatusSettings {
    /// Names of the nodes to show; empty = all.
    pub nodes: Vec<String>,
    pub selector: Option<String>,
    pub field_selector: Option<String>,
    pub priorities: Option<std::ops::RangeInclusive<crate::core::alert::Priority>>,
    pub condition: Option<regex::Regex>,
    pub all: bool,
    pub label_columns: Vec<String>,
    pub show_labels: bool,
    pub no_headers: bool,
    pub watch: bool,
    pub exit_code: bool,
    /// `None`: what the sync Lease says.
    pub prefix: Option<Prefix>,
    pub lease: LeaseKey,
    pub sort_by: Option<SortBy>,
    pub output: Option<StatusFormat>,
    /// What of all this was typed.
    pub typed: Vec<TypedFlag>,
}

impl StatusSettings {
    pub fn resolve(args: StatusArgs) -> Result<Self> {
        let output = args.output.as_deref().map(StatusFormat::parse).transpose()?.flatten();
        if args.watch && !matches!(output, None | Some(StatusFormat::Wide)) {
            return Err(Error::usage("--watch shows a table, plain or with -o wide"));
        }
        if args.watch && args.sort_by.is_some() {
            return Err(Error::usage("--watch keeps the most urgent first: --sort-by does not go with it"));
        }
        Ok(Self {
            nodes: args.nodes.iter().map(|name| node_name(name)).collect::<Result<_>>()?,
            selector: args.selector,
            field_selector: args.field_selector,
            priorities: args.priority,
            condition: args.condition,
            all: args.all,
            label_columns: args.label_columns,
            show_labels: args.show_labels,
            no_headers: args.no_headers,
            watch: args.watch,
            exit_code: args.exit_code,
            prefix: args.prefix,
            lease: LeaseKey { namespace: args.lease_namespace, name: args.lease_name },
            sort_by: args.sort_by.as_deref().map(SortBy::parse).transpose()?,
            output,
            typed: args.typed,
        })
    }

    pub fn is_wide(&self) -> bool {
        matches!(self.output, Some(StatusFormat::Wide))
    }
}

/// The form of the result, as kubectl's `-o` names it.
#[derive(Debug, Clone, PartialEq)]
pub enum StatusFormat {
    Wide,
    Json,
    Yaml,
    Name,
    JsonPath { text: String, template: Template },
    CustomColumns(CustomColumns),
}

impl StatusFormat {
    /// What `-o` takes.
    pub const NAMES: [&str; 6] = ["custom-columns", "json", "jsonpath", "name", "wide", "yaml"];

    /// `None` for nothing: the table.
    fn parse(text: &str) -> Result<Option<Self>> {
        let (name, given) = text.split_once('=').unwrap_or((text, ""));
        Ok(Some(match (name, given) {
            ("", _) if text.is_empty() => return Ok(None),
            ("jsonpath", "") => return Err(Error::usage("template format specified but no template given")),
            ("jsonpath", given) => {
                let template = Template::parse(given)
                    .map_err(|error| Error::usage(format!("error parsing jsonpath {given}, {error}")))?;
                Self::JsonPath { text: given.to_owned(), template }
            }
            ("custom-columns", "") => {
                return Err(Error::usage("custom-columns format specified but no custom columns given"));
            }
            ("custom-columns", given) => {
                Self::CustomColumns(CustomColumns::parse(given).map_err(Error::usage)?)
            }
            _ => match text.to_ascii_lowercase().as_str() {
                "wide" => Self::Wide,
                "json" => Self::Json,
                "yaml" => Self::Yaml,
                "name" => Self::Name,
                _ => {
                    return Err(Error::usage(format!(
                        "unable to match a printer suitable for the output format {text:?}, allowed formats are: {}",
                        Self::NAMES.join(",")
                    )));
                }
            },
        }))
    }
}

/// What `--sort-by` names.
#[derive(Debug, Clone, PartialEq)]
pub enum SortBy {
    Column(Column),
    /// Of the items of the document.
    Path {
        text: String,
        path: Template,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Node,
    Priority,
    Condition,
    Status,
    Age,
    NodeStatus,
    Roles,
    Reason,
    Heartbeat,
    Remediation,
    Message,
}

impl Column {
    const ALL: [(&str, Self); 11] = [
        ("node", Self::Node),
        ("priority", Self::Priority),
        ("condition", Self::Condition),
        ("status", Self::Status),
        ("age", Self::Age),
        ("node-status", Self::NodeStatus),
        ("roles", Self::Roles),
        ("reason", Self::Reason),
        ("heartbeat", Self::Heartbeat),
        ("remediation", Self::Remediation),
        ("message", Self::Message),
    ];
}

impl SortBy {
    fn parse(text: &str) -> Result<Self> {
        let column = Column::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        match (column, Template::parse_relaxed(text)) {
            (Some((_, column)), _) => Ok(Self::Column(*column)),
            (None, Ok(path)) if !text.is_empty() => Ok(Self::Path { text: text.to_owned(), path }),
            (None, Ok(_)) => Err(Self::error("it is empty")),
            (None, Err(error)) => Err(Self::error(error)),
        }
    }

    /// The names that it knows.
    pub fn columns() -> impl Iterator<Item = &'static str> {
        Column::ALL.iter().map(|(name, _)| *name)
    }

    /// That it cannot be sorted so, and how it can.
    pub fn error(why: impl std::fmt::Display) -> Error {
        let columns: Vec<&str> = Self::columns().collect();
        Error::usage(format!("--sort-by: {why}"))
            .hint(format!("columns: {}; or a JSONPath such as .lastHeartbeatTime", columns.join(", ")))
    }
}
