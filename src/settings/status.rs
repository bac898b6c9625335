//! What `status` is to show, validated.

use crate::cli::{StatusArgs, StatusFormat};
use crate::cluster::LeaseKey;
use crate::core::prefix::Prefix;
use crate::error::{Error, Result};

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
    pub output: Option<StatusFormat>,
}

impl StatusSettings {
    pub fn resolve(args: StatusArgs) -> Result<Self> {
        if args.watch && !matches!(args.output, None | Some(StatusFormat::Wide)) {
            return Err(Error::usage("--watch shows a table, plain or with -o wide"));
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
            output: args.output,
        })
    }
}
