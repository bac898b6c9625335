//! Stand-in.
use std::sync::Arc;
use super::Tell;
use crate::cluster::Cluster;
#[derive(Debug, Clone, Default)]
pub struct DrainOptions {}
#[derive(Debug)]
pub struct DrainFailure;
impl DrainFailure { pub fn is_timeout(&self) -> bool { false } }
impl std::fmt::Display for DrainFailure { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("drain") } }
pub async fn drain(_: Arc<Cluster>, _: &str, _: &DrainOptions, _: &dyn Tell) -> Result<(), DrainFailure> { Ok(()) }
