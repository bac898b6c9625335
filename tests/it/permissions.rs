//! The manifests of deploy/ allow what they are for, and no more.

mod control_plane {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use jiff::SignedDuration;

    use crate::support::{Run, Running, World, run};
    use crate::watch::eventually;

    fn kubectl(world: &World, arguments: &[&str]) -> String {
        run(Command::new("kubectl").args(arguments).env("KUBECONFIG", world.kubeconfig())).exits(0).stdout
    }

    /// What a manifest creates, except for its namespace; it goes with this.
    struct Applied<'w>(&'w World);

    const OBJECTS: [&[&str]; 5] = [
        &["clusterrolebinding", "sciuro-status"],
        &["clusterrole", "sciuro-status"],
        &["rolebinding", "-n", "kube-system", "sciuro-status"],
        &["role", "-n", "kube-system", "sciuro-status"],
        &["serviceaccount", "-n", "sciuro", "sciuro-status"],
    ];

    impl<'w> Applied<'w> {
        fn new(world: &'w World) -> Self {
            let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/status-rbac.yaml");
            kubectl(world, &["apply", "-f", manifest.to_str().unwrap()]);
            Self(world)
        }
    }

    impl Drop for Applied<'_> {
        fn drop(&mut self) {
            for object in OBJECTS {
                kubectl(self.0, &[&["delete", "--ignore-not-found"], object].concat());
            }
        }
    }

    /// A kubeconfig with the account's token and nothing else.
    fn kubeconfig_of_the_account(world: &World) -> PathBuf {
        let token = kubectl(world, &["create", "token", "-n", "sciuro", "sciuro-status"]);
        let cluster = |field: &str| {
            let path = format!("jsonpath={{.clusters[0].cluster.{field}}}");
            kubectl(world, &["config", "view", "--raw", "--minify", "-o", &path])
        };
        let authority = match cluster("certificate-authority") {
            file if file.is_empty() => {
                format!("certificate-authority-data: {}", cluster("certificate-authority-data"))
            }
            file => format!("certificate-authority: {file}"),
        };
        world.file(
            "account",
            &format!(
                "{{kind: Config, apiVersion: v1, current-context: a, contexts: [{{name: a, context: {{cluster: c, user: u}}}}], clusters: \
                 [{{name: c, cluster: {{server: '{}', {authority}}}}}], users: [{{name: u, user: {{token: '{}'}}}}]}}",
                cluster("server"),
                token.trim(),
            ),
        )
    }

    #[test]
    fn status_needs_what_its_manifest_allows() {
        let world = World::control_plane();
        let node = world.bare_node("w1");
        world.seed(&node, "X", "True", "[P1] hot", SignedDuration::from_mins(12));
        let _applied = Applied::new(&world);
        let kubeconfig = kubeconfig_of_the_account(&world);
        let prefix = world.prefix();
        let command = |arguments: &[&str]| {
            let mut command = world.command(&[arguments, &["--prefix", &prefix, &node]].concat());
            command.env("KUBECONFIG", &kubeconfig);
            command
        };
        let status =
            |more: &[&str]| -> Run { run(&mut command(&[&["status", "--no-headers"], more].concat())) };

        // The authorizer reads rules from a watch.
        eventually("what the manifest allows", || {
            let run = status(&[]);
            run.code == Some(0) && !run.stderr.contains("Forbidden")
        });
        let shown = status(&[]).exits(0).stdout;
        assert!(shown.contains("P1   X   True   12m   hot"), "{shown}");
        let mut watch = Running::start(&mut command(&["status", "-w", "--no-headers"]), str::to_owned);
        watch.prints(|row| row.ends_with(" hot"));
        world.seed(&node, "X", "True", "[P1] hotter", SignedDuration::from_mins(12));
        watch.prints(|row| row.ends_with(" hotter"));
        let (_, stderr) = watch.interrupt();
        assert!(!stderr.iter().any(|line| line.contains("Forbidden")), "{stderr:?}");

        // And no more: neither other Leases nor any change.
        status(&["--lease-name", "other"]).exits(0).says("Lease not readable (Forbidden)");
        for (verb, resource) in
            [("patch", "nodes/status"), ("get", "secrets"), ("list", "pods"), ("update", "leases")]
        {
            let allowed = run(Command::new("kubectl")
                .args(["auth", "can-i", verb, resource, "-A"])
                .env("KUBECONFIG", &kubeconfig));
            assert_eq!(allowed.stdout.trim(), "no", "{verb} {resource}");
        }
    }
}
