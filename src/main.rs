//! The binary `kubectl-sciuro`; see the library `sciuro`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // kube and reqwest share one TLS stack, rustls with ring. It fails only if it was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    sciuro::run(std::env::args_os().collect()).into()
}
