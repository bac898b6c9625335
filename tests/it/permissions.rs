//! The manifests of deploy/ allow what they are for, and no more.

pub(crate) mod control_plane {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::{Mutex, PoisonError};

    use jiff::SignedDuration;
    use serde_json::json;

    use crate::support::{Run, Running, World, run};
    use crate::watch::eventually;

    pub(crate) fn kubectl(world: &World, arguments: &[&str]) -> String {
        run(Command::new("kubectl").args(arguments).env("KUBECONFIG", world.kubeconfig())).exits(0).stdout
    }

    /// What a manifest creates, except for its namespace; it goes with this.
    struct Applied<'w> {
        world: &'w World,
        objects: &'w [&'w [&'w str]],
    }

    const STATUS: [&[&str]; 5] = [
        &["clusterrolebinding", "sciuro-status"],
        &["clusterrole", "sciuro-status"],
        &["rolebinding", "-n", "kube-system", "sciuro-status"],
        &["role", "-n", "kube-system", "sciuro-status"],
        &["serviceaccount", "-n", "sciuro", "sciuro-status"],
    ];

    const REMEDIATE: [&[&str]; 8] = [
        &["validatingadmissionpolicy,validatingadmissionpolicybinding", "sciuro-remediate"],
        &["clusterrolebinding", "sciuro-remediate"],
        &["clusterrole", "sciuro-remediate"],
        &["role,rolebinding", "-n", "kube-system", "sciuro-remediate-leases"],
        &["role,rolebinding", "-n", "kube-system", "sciuro-remediate-helper"],
        &["role,rolebinding", "-n", "kube-node-lease", "sciuro-remediate"],
        &["role,rolebinding", "-n", "default", "sciuro-remediate"],
        &["serviceaccount", "-n", "sciuro", "sciuro-remediate"],
    ];

    const REMEDIATE_KUBELET: [&[&str]; 1] = [&["clusterrole,clusterrolebinding", "sciuro-remediate-kubelet"]];

    /// Two that apply the same namespace at the same time: one is told that it exists.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// With the namespace of its account.
    pub(crate) fn apply(world: &World, manifest: &str) {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        for manifest in ["base/namespace.yaml", manifest] {
            kubectl(world, &["apply", "-f", deploy.join(manifest).to_str().unwrap()]);
        }
    }

    impl<'w> Applied<'w> {
        fn new(world: &'w World, manifest: &str, objects: &'w [&'w [&'w str]]) -> Self {
            apply(world, manifest);
            Self { world, objects }
        }
    }

    impl Drop for Applied<'_> {
        fn drop(&mut self) {
            for object in self.objects {
                kubectl(self.world, &[&["delete", "--ignore-not-found"], *object].concat());
            }
        }
    }

    /// A kubeconfig with the account's token and nothing else.
    pub(crate) fn kubeconfig_of_the_account(world: &World, namespace: &str, account: &str) -> PathBuf {
        let token = kubectl(world, &["create", "token", "-n", namespace, account]);
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
        let _applied = Applied::new(&world, "status-rbac.yaml", &STATUS);
        let kubeconfig = kubeconfig_of_the_account(&world, "sciuro", "sciuro-status");
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
    /// The plan asks about every verb of the run, and the list that it asks from is what the manifest was made of.
    #[test]
    fn remediate_needs_what_its_manifest_allows() {
        let world = World::control_plane();
        let nodes = world.nodes(&["w1", "w2"]);
        let _applied = Applied::new(&world, "remediate-rbac.yaml", &REMEDIATE);
        let kubeconfig = kubeconfig_of_the_account(&world, "sciuro", "sciuro-remediate");
        let plan = || {
            let flags = ["remediate", &*nodes[0], "--dry-run", "--max-unavailable", "100%"];
            run(world.command(&flags).env("KUBECONFIG", &kubeconfig))
        };
        // The authorizer reads rules from a watch.
        eventually("what the manifest allows", || {
            let plan = plan();
            plan.code == Some(0) && !plan.stdout.contains("you may not")
        });
        plan().exits(0).never_says("orbidden");

        let may = |verb: &str, resource: &str, namespace: &[&str]| {
            let mut ask = Command::new("kubectl");
            ask.args(["auth", "can-i", verb, resource]).args(namespace).env("KUBECONFIG", &kubeconfig);
            run(&mut ask).stdout.trim() == "yes"
        };
        for (verb, resource) in [
            ("delete", "nodes"),
            ("update", "nodes"),
            ("delete", "pods"),
            ("create", "pods"),
            ("get", "secrets"),
            ("get", "configmaps"),
            ("update", "leases"),
            ("patch", "poddisruptionbudgets"),
            ("patch", "daemonsets"),
        ] {
            assert!(!may(verb, resource, &["-A"]), "{verb} {resource}");
        }
        for (verb, resource, subresource) in [("get", "nodes", "proxy"), ("create", "pods", "exec")] {
            let subresource = format!("--subresource={subresource}");
            assert!(!may(verb, resource, &["-A", &subresource]), "{verb} {resource} {subresource}");
        }
        assert!(may("create", "pods", &["-n", "kube-system"]));
        // Whether a MachineHealthCheck would replace the machine.
        for group in ["cluster.x-k8s.io", "machine.openshift.io"] {
            for (verb, plural, is) in [
                ("get", "machines", true),
                ("list", "machinehealthchecks", true),
                ("list", "machines", false),
                ("delete", "machines", false),
                ("patch", "machinehealthchecks", false),
            ] {
                // kubectl asks about no resource that the server does not have.
                let review = world.request(
                    "POST",
                    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                    "application/json",
                    &json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
                        "user": "system:serviceaccount:sciuro:sciuro-remediate",
                        "resourceAttributes": {"group": group, "resource": plural, "verb": verb}}}),
                );
                assert_eq!(review["status"]["allowed"], is, "{verb} {plural}.{group}");
            }
        }
        // What lets its holder run anything anywhere is granted apart.
        let _kubelet = Applied::new(&world, "remediate-kubelet-rbac.yaml", &REMEDIATE_KUBELET);
        eventually("what the other manifest allows", || may("get", "nodes", &["--subresource=proxy"]));
        for verb in ["create", "update", "patch", "delete"] {
            assert!(!may(verb, "nodes", &["--subresource=proxy"]), "{verb}");
        }
        assert!(!may("delete", "leases", &["-n", "kube-system"]));
        assert!(!may("update", "leases", &["-n", "kube-node-lease"]));
    }
}
