//! `status -w` while a real API server is killed and started again.

mod control_plane {
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::SignedDuration;
    use serde_json::json;

    use crate::support::{Cluster, World, seconds_ago};
    use crate::watch::{eventually, listed, replayed, watch};

    const RESTARTS: usize = 2;

    /// Writes conditions without a pause, also while nobody answers.
    fn write(world: &World, nodes: &[String], stop: &AtomicBool) {
        let mut round = 0_usize;
        while !stop.load(Ordering::Relaxed) {
            let node = &nodes[round % nodes.len()];
            let status = if round % 7 < 3 { "True" } else { "False" };
            let condition = json!({
                "type": world.condition_type(&format!("C{}", round % 3)), "status": status,
                "reason": "AlertIsFiring", "message": format!("[P{}] round {round}", round % 9),
                "lastTransitionTime": seconds_ago(SignedDuration::from_mins(12)),
            });
            let path = format!("/api/v1/nodes/{node}/status");
            let body = json!({"status": {"conditions": [condition]}});
            let _or_nobody_answers =
                world.try_api("PATCH", &path, "application/strategic-merge-patch+json", &body);
            round += 1;
        }
    }

    #[test]
    fn a_watch_survives_an_api_server_that_is_killed() {
        let mut cluster = Cluster::start();
        let world = World::on(&cluster.kubeconfig());
        let nodes: Vec<String> = (1..=20).map(|number| world.bare_node(&format!("w{number}"))).collect();
        let watching = &mut watch(&world, &["--no-headers"]);
        watching.says("cannot tell");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| write(&world, &nodes, &stop));
            for _ in 0..RESTARTS {
                let before = watching.stdout.len();
                (0..20).for_each(|_| drop(watching.row()));
                assert!(watching.stdout.len() > before);
                watching.stderr.clear();
                cluster.kill_server();
                watching.says("Warning: no news since ");
                cluster.start_server();
                watching.says("connected again");
            }
            (0..20).for_each(|_| drop(watching.row()));
            stop.store(true, Ordering::Relaxed);
        });
        // A node that goes while all is well is the last row.
        world.delete_node(&nodes[0]);
        let expected = listed(&world, &[]);
        assert!(expected.len() > 5, "{expected:?}");
        watching.comes_to(&expected, replayed);
        let mut last = std::collections::BTreeMap::new();
        for line in &watching.stdout {
            let words: Vec<&str> = line.split(' ').collect();
            let doubled = last.insert((words[0], words[2]), line) == Some(line);
            assert!(!doubled, "{line} twice");
        }
        // One watch at a time: of each server one is left that never completed. A server that has just started may
        // answer one with an error and complete it.
        let served = |stage| {
            let stage = format!(r#""stage":"{stage}""#);
            cluster.audited(&["kubectl-sciuro/", r#""verb":"watch""#, r#""code":200"#, &stage])
        };
        eventually("a watch of each server", || {
            served("ResponseStarted") == served("ResponseComplete") + RESTARTS + 1
        });
        assert!(served("ResponseStarted") <= 2 * RESTARTS + 1, "{}", served("ResponseStarted"));
    }
}
