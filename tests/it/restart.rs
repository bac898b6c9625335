//! `status -w` and `sync --loop` while a real API server is killed and started again.

mod control_plane {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use crate::looping;
    use crate::support::{Cluster, World, seconds_ago};
    use crate::watch::{eventually, listed, replayed, watch};

    const RESTARTS: usize = 2;

    /// Changes conditions all the time, one in each round, also while nobody answers.
    struct Writer<'w> {
        world: &'w World,
        nodes: &'w [String],
        /// The same in all rounds: one that is written again, since the answer was lost, changes nothing.
        since: String,
        round: AtomicUsize,
        /// The last round.
        end: AtomicUsize,
    }

    impl Writer<'_> {
        fn run(&self) {
            while self.round.load(Ordering::SeqCst) < self.end.load(Ordering::SeqCst) {
                let round = self.round.load(Ordering::SeqCst);
                let node = &self.nodes[round % self.nodes.len()];
                let status = if round % 7 < 3 { "True" } else { "False" };
                let condition = json!({
                    "type": self.world.condition_type(&format!("C{}", round % 3)), "status": status,
                    "reason": "AlertIsFiring", "message": format!("[P{}] round {round}", round % 9),
                    "lastTransitionTime": self.since,
                });
                let path = format!("/api/v1/nodes/{node}/status");
                let body = json!({"status": {"conditions": [condition]}});
                let content_type = "application/strategic-merge-patch+json";
                match self.world.try_api("PATCH", &path, content_type, &body) {
                    Ok(_) => _ = self.round.fetch_add(1, Ordering::SeqCst),
                    Err(_nobody_answers) => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        }
    }

    /// Ends the writer also if the test fails, which would otherwise wait for it for ever.
    struct StopOnDrop<'w>(&'w Writer<'w>);

    impl Drop for StopOnDrop<'_> {
        fn drop(&mut self) {
            self.0.end.store(0, Ordering::SeqCst);
        }
    }

    fn round(row: &str) -> Option<usize> {
        row.rsplit_once(" round ")?.1.parse().ok()
    }

    #[test]
    fn a_watch_survives_an_api_server_that_is_killed() {
        let mut cluster = Cluster::start();
        let world = World::on(&cluster.kubeconfig());
        let nodes: Vec<String> = (1..=20).map(|number| world.bare_node(&format!("w{number}"))).collect();
        // Whom RBAC has to know: a server that has just started does not, for a moment.
        let reader = world.user_who_may(&[("", "nodes", "list"), ("", "nodes", "watch")]);
        let watching = &mut watch(&world, &["--no-headers", "--as", &reader]);
        watching.says("cannot tell");
        let writer = Writer {
            world: &world,
            nodes: &nodes,
            since: seconds_ago(SignedDuration::from_mins(12)),
            round: AtomicUsize::new(0),
            end: AtomicUsize::new(usize::MAX),
        };
        let mut killed_after = Vec::new();
        std::thread::scope(|scope| {
            let stopper = StopOnDrop(&writer);
            scope.spawn(|| writer.run());
            for _ in 0..RESTARTS {
                // Of what was changed from now on, something is shown: the watch is there.
                let now = writer.round.load(Ordering::SeqCst);
                watching.prints(|row| round(row).is_some_and(|round| round > now + 20));
                watching.stderr.clear();
                cluster.kill_server();
                killed_after.push(cluster.audit_log().len());
                watching.says("Warning: no news since ");
                cluster.start_server();
                watching.says("connected again");
            }
            let now = writer.round.load(Ordering::SeqCst);
            watching.prints(|row| round(row).is_some_and(|round| round > now + 20));
            drop(stopper);
        });
        // A node that goes while all is well is the last row.
        world.delete_node(&nodes[0]);
        let expected = listed(&world, &[]);
        assert!(expected.len() > 5, "{expected:?}");
        watching.comes_to(&expected, replayed);
        let mut last = BTreeMap::new();
        for line in &watching.stdout {
            let words: Vec<&str> = line.split(' ').collect();
            let doubled = last.insert((words[0], words[2]), line) == Some(line);
            assert!(!doubled, "{line} twice");
        }
        one_watch_at_a_time(&cluster.audit_log(), &killed_after);
    }

    /// Some conditions are written, others are not, and of one nobody knows.
    #[test]
    fn a_loop_survives_an_api_server_that_is_killed_in_mid_round() {
        let mut cluster = Cluster::start();
        let source = sandbox::Alertmanager::start_blocking();
        let world = World::on(&cluster.kubeconfig()).with_alertmanager(source.url());
        let nodes: Vec<String> = (1..=200).map(|number| world.bare_node(&format!("w{number}"))).collect();
        for node in &nodes {
            world.alert(&[("alertname", "X"), ("node", node)], "", true);
        }
        let status = |node: &String| {
            let path = format!("/api/v1/nodes/{node}");
            let object = world.try_api("GET", &path, "application/json", &Value::Null).ok()?;
            let conditions = object["status"]["conditions"].as_array()?.clone();
            let type_ = world.condition_type("X");
            let condition = conditions.into_iter().find(|condition| condition["type"] == type_.as_str())?;
            Some(condition["status"].as_str()?.to_owned())
        };
        let mut looping = looping::start(&world, &["--concurrency", "1"]);
        eventually("the first patch", || nodes.iter().take(3).any(|node| status(node).is_some()));
        cluster.kill_server();
        world.alert(&[("alertname", "X"), ("node", &nodes[0])], "", false);
        looping.says("did you specify the right host or port?");
        cluster.start_server();
        let expected = |node: &String| if *node == nodes[0] { "False" } else { "True" };
        let is_as_expected = |node: &String| {
            let status = status(node);
            // The first one may not have been written before its alert ended.
            status.as_deref() == Some(expected(node)) || (*node == nodes[0] && status.is_none())
        };
        eventually("all conditions", || nodes.iter().all(is_as_expected));
        let (stdout, _) = looping.interrupt();
        let cleared = stdout.iter().filter(|row| row.contains("False")).count();
        assert!(cleared <= 1, "{stdout:#?}");
        let rows: BTreeSet<&String> = stdout.iter().collect();
        assert_eq!(rows.len(), stdout.len(), "nothing is written twice");
    }

    /// Each server knows of at most one watch that has begun and not ended.
    fn one_watch_at_a_time(log: &[Value], killed_after: &[usize]) {
        let mut open = BTreeSet::new();
        let mut begun = vec![0];
        for (index, event) in log.iter().enumerate() {
            if killed_after.contains(&index) {
                open.clear();
                begun.push(0);
            }
            let agent = event["userAgent"].as_str().unwrap_or_default();
            if event["verb"] != "watch" || !agent.starts_with("kubectl-sciuro/") {
                continue;
            }
            let id = event["auditID"].as_str().unwrap();
            match event["stage"].as_str().unwrap() {
                "ResponseStarted" => {
                    assert!(open.is_empty(), "a second watch: {event:#}");
                    open.insert(id);
                    *begun.last_mut().unwrap() += 1;
                }
                "ResponseComplete" => _ = open.remove(id),
                _ => {}
            }
        }
        assert_eq!(open.len(), 1, "the last one goes on");
        assert_eq!(begun.len(), RESTARTS + 1);
        // A server that starts may end one of them at once: it has forgotten the version from which it is to go on.
        assert!(begun.iter().all(|watches| (1..=3).contains(watches)), "{begun:?}");
    }
}
