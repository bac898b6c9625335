//! The binary `kubectl-sciuro`; see the library `sciuro`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // There are tokens and keys in here.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    #[cfg(all(unix, not(target_os = "linux")))]
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    );
    // kube and reqwest share one TLS stack, rustls with ring. It fails only if it was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    sciuro::run(std::env::args_os().collect()).into()
}
