//! `kubectl sciuro version`.

use std::sync::Arc;

use serde::Serialize;

use super::connect;
use crate::cli::{KubernetesArgs, VersionArgs};
use crate::cluster::Rule;
use crate::error::{Exit, Result};
use crate::ui::Ui;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    client_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_version: Option<String>,
}

pub(super) async fn run(args: &VersionArgs, kubernetes: &KubernetesArgs, ui: &Arc<Ui>) -> Result<Exit> {
    let client_version = concat!("v", env!("CARGO_PKG_VERSION"));
    let server = if args.client { Ok(None) } else { server_version(kubernetes, ui).await.map(Some) };
    let version = Version { client_version, server_version: server.clone().ok().flatten() };
    if let Some(format) = args.output {
        ui.document(&super::render::document("Version", &version, format));
    } else {
        ui.result(&format!("Client Version: {client_version}"));
        if let Some(server) = &version.server_version {
            ui.result(&format!("Server Version: {server}"));
        }
    }
    server.map(|_| Exit::Done)
}

async fn server_version(kubernetes: &KubernetesArgs, ui: &Arc<Ui>) -> Result<String> {
    let cluster = connect(kubernetes, ui).await?;
    cluster
        .server_version()
        .await
        .map_err(|error| error.explain("get", &Rule { group: "", resource: "/version", namespace: None }))
}
