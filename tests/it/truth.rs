//! What sync, connections, output and manifests say has to be so. Each test carries the row that it came from.

mod answers;
mod connections;
mod credentials;
mod deploy;
mod documents;
mod kubeconfigs;
mod logs;
mod rounds;
mod rules;
mod sources;
mod status;
mod tls_services;
mod unlisted;
