//! What a remediation asks of the alert sources: are the alerts of the node gone, and are they to be silent meanwhile?

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{Fleet, Run, World, run, scenarios};

scenarios![
    alerts_that_are_gone_beat_a_condition_that_nobody_refreshes,
    an_alert_that_still_fires_keeps_the_node,
    an_alert_that_ends_late_is_waited_for,
    a_source_that_is_not_believed_proves_nothing,
    silenced_for_the_run_and_no_longer,
    a_failure_ends_the_silence,
    an_abort_ends_the_silence,
    ctrl_c_ends_the_silence,
    what_a_killed_run_left_is_taken_over,
    what_a_killed_run_left_is_ended_by_an_abort,
    a_silence_of_somebody_else_is_left_alone,
    what_its_alerts_are_is_in_the_bundle,
];

/// With an alert on the first node, and its condition as sync has written it.
struct Burning<'w> {
    fleet: Fleet<'w>,
    source: Vec<String>,
}

impl<'w> Burning<'w> {
    fn new(world: &'w World) -> Self {
        let fleet = Fleet::new(world);
        let filter = format!("test={:?}", world.id());
        let source =
            ["--alertmanager", world.alertmanager_url(), "--receiver", "node-condition-k8s", "--warmup", "0"];
        let source = source.iter().map(|word| (*word).to_owned()).chain(["--filter".to_owned(), filter]);
        let this = Self { source: source.collect(), fleet };
        this.fires(true);
        world.seed(&this.fleet.node, "Hot", "True", "[P9] it is hot", SignedDuration::from_mins(3));
        this
    }

    fn fires(&self, fires: bool) {
        let world = self.fleet.world;
        world.alert(&[("alertname", "Hot"), ("node", &self.fleet.node)], "it is hot", fires);
        self.fleet.until("the alert is as it should be", || {
            let alerts = self.get("alerts");
            let is_it = |alert: &&Value| alert["labels"]["node"] == self.fleet.node.as_str();
            alerts.iter().find(is_it).is_some() == fires
        });
    }

    fn flags<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.source.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    fn remediate(&self, more: &[&str]) -> Run {
        self.fleet.remediate(&self.flags(more))
    }

    fn get(&self, resource: &str) -> Vec<Value> {
        let url = format!("{}/api/v2/{resource}", self.fleet.world.alertmanager_url());
        let text =
            self.fleet.world.block_on(async { reqwest::get(url).await.unwrap().text().await.unwrap() });
        serde_json::from_str(&text).expect("a list")
    }

    /// The silences that name the first node.
    fn silences(&self, state: &str) -> Vec<Value> {
        let mut silences = self.get("silences");
        silences.retain(|silence| {
            silence["matchers"][0]["value"] == self.fleet.node.as_str() && silence["status"]["state"] == state
        });
        silences
    }

    #[track_caller]
    fn is_silent(&self) -> Value {
        let active = self.silences("active");
        assert_eq!(active.len(), 1, "{active:#?}");
        let silence = active[0].clone();
        let end: Timestamp = silence["endsAt"].as_str().unwrap().parse().unwrap();
        // Nobody has to do anything for it to end.
        assert!(end.duration_since(Timestamp::now()) <= SignedDuration::from_mins(15), "{silence:#}");
        silence
    }

    #[track_caller]
    fn was_silent(&self) {
        assert_eq!(self.silences("active"), [Value::Null; 0]);
        assert_eq!(self.silences("expired").len(), 1);
    }

    /// Which the record names.
    fn id_of_the_record(&self) -> Value {
        let record = self.fleet.record();
        let marks = record["marks"].as_array().cloned().unwrap_or_default();
        marks
            .into_iter()
            .find(|mark| mark["type"] == "silence")
            .map_or(Value::Null, |mark| mark["id"].clone())
    }
}

/// The plan has this in it.
#[track_caller]
fn plans(run: Run, part: &str) {
    let run = run.exits(0);
    assert!(run.stdout.contains(part), "no {part:?} in {}", run.stdout);
}

fn alerts_that_are_gone_beat_a_condition_that_nobody_refreshes(world: &World) {
    let burning = Burning::new(world);
    plans(burning.remediate(&["--dry-run"]), "alerts:   have to be gone at http");
    burning.fires(false);
    burning
        .remediate(&[])
        .exits(0)
        .says("was not refreshed since the boot; its alerts are gone")
        .says("✔ alerts are gone");
    assert!(!burning.fleet.is_cordoned());
}

fn an_alert_that_still_fires_keeps_the_node(world: &World) {
    let burning = Burning::new(world);
    // Silenced is not gone.
    world.silence("test", world.id());
    let type_ = world.condition_type("Hot");
    burning.remediate(&["--verify-timeout", "3s"]).exits(7).says(&format!("✗ alerts still fire: {type_}"));
    assert!(burning.fleet.is_cordoned());
    // Who says so does without; sync has seen to the condition then.
    world.seed(&burning.fleet.node, "Hot", "False", "", SignedDuration::ZERO);
    burning.remediate(&["--resume", "--no-verify-alerts"]).exits(0).never_says("alerts");
}

fn an_alert_that_ends_late_is_waited_for(world: &World) {
    let burning = Burning::new(world);
    let mut running = burning.fleet.begin(&burning.flags(&[]));
    running.says("✗ alerts still fire");
    burning.fires(false);
    running.ends(0);
    assert!(!burning.fleet.is_cordoned());
}

fn a_source_that_is_not_believed_proves_nothing(world: &World) {
    let burning = Burning::new(world);
    burning.fires(false);
    for (flags, why) in [
        (&["--warmup", "1000h"][..], "its silence is believed from"),
        (&["--require-alert", "NeverFires"], "the alert NeverFires does not fire at"),
        (&["--alertmanager", "http://127.0.0.1:9"], "cannot reach http://127.0.0.1:9"),
        (&["--receiver", "unknown"], "has no receiver \"unknown\""),
    ] {
        let mut all = burning.flags(&["--verify-timeout", "2s"]);
        let place = all.iter().position(|word| *word == flags[0]);
        match place {
            Some(place) => all[place + 1] = flags[1],
            None => all.extend(flags),
        }
        if burning.fleet.record().is_null() {
            plans(
                burning.fleet.remediate(&[&all[..], &["--dry-run"]].concat()),
                "could not be verified as it is now",
            );
        }
        let resume: &[&str] = if burning.fleet.record().is_null() { &[] } else { &["--resume"] };
        burning
            .fleet
            .remediate(&[&all[..], resume].concat())
            .exits(7)
            .says("✗ alerts may still fire")
            .says(why);
        assert!(burning.fleet.is_cordoned());
    }
    burning.remediate(&["--resume"]).exits(0);
}

fn silenced_for_the_run_and_no_longer(world: &World) {
    let burning = Burning::new(world);
    let node = burning.fleet.node.clone();
    let plan = burning.remediate(&["--dry-run", "--silence"]);
    plans(plan, &format!("silence:  what has node=\"{node}\""));
    assert_eq!(burning.silences("active"), [Value::Null; 0], "a plan silences nothing");

    let mut running = burning.fleet.begin(&burning.flags(&["--silence"]));
    running.says("✗ alerts still fire");
    let silence = burning.is_silent();
    assert_eq!(burning.id_of_the_record(), silence["id"]);
    let id = burning.fleet.record()["id"].as_str().unwrap().to_owned();
    assert!(
        silence["comment"].as_str().unwrap().contains(&id)
            && silence["createdBy"].as_str().unwrap().starts_with("kubectl-sciuro (")
    );
    assert_eq!(
        silence["matchers"][1],
        json!({"name": "exported_node", "value": "", "isRegex": false, "isEqual": true})
    );
    // Extended along with the Lease, and still the same.
    burning.fleet.until("a silence that is extended", || burning.is_silent()["endsAt"] != silence["endsAt"]);
    assert_eq!(burning.is_silent()["id"], silence["id"]);
    burning.fires(false);
    running.ends(0);
    burning.was_silent();
}

fn a_failure_ends_the_silence(world: &World) {
    let burning = Burning::new(world);
    burning.remediate(&["--silence", "--verify-timeout", "2s"]).exits(7);
    burning.was_silent();
    assert_eq!(burning.id_of_the_record(), burning.silences("expired")[0]["id"]);
}

fn an_abort_ends_the_silence(world: &World) {
    let burning = Burning::new(world);
    let _namespace = burning.fleet.stubborn_pod();
    let mut running = burning.fleet.begin(&burning.flags(&["--silence", "--force"]));
    burning.fleet.until_in("Draining");
    burning.is_silent();
    burning.remediate(&["--abort"]).exits(0);
    running.ends(8);
    burning.was_silent();
}

fn ctrl_c_ends_the_silence(world: &World) {
    let burning = Burning::new(world);
    let namespace = burning.fleet.stubborn_pod();
    let running = burning.fleet.begin(&burning.flags(&["--silence", "--force"]));
    burning.fleet.until_in("Draining");
    burning.is_silent();
    running.interrupt();
    burning.was_silent();
    burning.fleet.free(&namespace);
    burning.fires(false);
    // The one before has ended: a new one.
    burning.remediate(&["--resume", "--silence", "--force"]).exits(0);
    assert_eq!((burning.silences("active").len(), burning.silences("expired").len()), (0, 2));
}

/// Killed while it drains; returns its silence.
fn killed(burning: &Burning<'_>) -> (String, Value) {
    let namespace = burning.fleet.stubborn_pod();
    let running = burning.fleet.begin(&burning.flags(&["--silence", "--force"]));
    burning.fleet.until_in("Draining");
    running.kill();
    (namespace, burning.is_silent())
}

fn what_a_killed_run_left_is_taken_over(world: &World) {
    let burning = Burning::new(world);
    let (namespace, left) = killed(&burning);
    burning.fleet.free(&namespace);
    let mut running = burning.fleet.begin(&burning.flags(&["--resume", "--silence", "--force"]));
    running.says("✗ alerts still fire");
    let silence = burning.is_silent();
    assert_eq!(silence["id"], left["id"]);
    assert_ne!(silence["endsAt"], left["endsAt"]);
    burning.fires(false);
    running.ends(0);
    burning.was_silent();
}

fn what_a_killed_run_left_is_ended_by_an_abort(world: &World) {
    let burning = Burning::new(world);
    killed(&burning);
    let without = burning
        .fleet
        .remediate(&["--resume", "--until", "drain", "--drain-timeout", "1s", "--force"])
        .exits(5);
    without.says("ends by itself, within 15 minutes");
    burning.is_silent();
    burning.remediate(&["--abort"]).exits(0);
    burning.was_silent();
}

/// Any kubelet can write its own node's record.
fn a_silence_of_somebody_else_is_left_alone(world: &World) {
    let burning = Burning::new(world);
    let namespace = burning.fleet.stubborn_pod();
    let running = burning.fleet.begin(&burning.flags(&["--silence", "--force"]));
    burning.fleet.until_in("Draining");
    running.interrupt();
    world.silence("node", &burning.fleet.node);
    let others = burning.silences("active").remove(0);
    let mut record = burning.fleet.record();
    for mark in record["marks"].as_array_mut().unwrap().iter_mut().filter(|mark| mark["type"] == "silence") {
        mark["id"] = others["id"].clone();
    }
    let record = json!({"metadata": {"annotations": {"sciuro.dev/remediation": record.to_string()}}});
    burning.fleet.patch(&burning.fleet.node, &record);
    burning.remediate(&["--abort"]).exits(0);
    assert_eq!(burning.silences("active")[0]["id"], others["id"]);
    burning.fleet.free(&namespace);
}

fn what_its_alerts_are_is_in_the_bundle(world: &World) {
    let burning = Burning::new(world);
    world.silence("node", &burning.fleet.node);
    world.alert(&[("alertname", "Other"), ("node", "another")], "not here", true);
    let summary = "curl -H 'Authorization: Bearer abcdefghijklmnop'";
    world.alert(&[("alertname", "Leak"), ("node", &burning.fleet.node)], summary, true);
    let directory = world.file("x", "").parent().unwrap().join("bundles");
    let directory = directory.to_str().unwrap();
    let flags = ["--until", "collect", "--skip", "drain", "--output-dir", directory];
    burning.remediate(&flags).exits(0);
    let bundle = std::fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    let listed = std::process::Command::new("tar")
        .args(["-xzOf", bundle.to_str().unwrap(), "--wildcards", "*alerts/*"])
        .output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert!(
        text.contains("\"alertname\": \"Hot\"") && text.contains("\"comment\": \"maintenance\""),
        "{text}"
    );
    assert!(
        !text.contains("\"Other\"") && !text.contains("abcdefghijklmnop") && text.contains("REDACTED"),
        "{text}"
    );
}

/// Only on the sandbox: what an Alertmanager that fails does to a run.
#[test]
fn sandbox_an_alertmanager_that_takes_no_silences_stops_nobody() {
    let world = World::sandbox();
    let burning = Burning::new(&world);
    burning.fires(false);
    let faults = world.alertmanager().faults();
    faults.on("POST", "/api/v2/silences").status(403);
    burning.remediate(&["--silence"]).exits(0).says("is not silenced: ");
    assert!(!burning.fleet.is_cordoned());
}

#[test]
fn sandbox_a_silence_that_somebody_ended_is_not_made_again() {
    let world = World::sandbox();
    let burning = Burning::new(&world);
    let mut running = burning.fleet.begin(&burning.flags(&["--silence"]));
    running.says("✗ alerts still fire");
    let id = burning.is_silent()["id"].as_str().unwrap().to_owned();
    let url = format!("{}/api/v2/silence/{id}", world.alertmanager_url());
    world.block_on(async {
        reqwest::Client::new().delete(url).send().await.unwrap().error_for_status().unwrap()
    });
    running.says("somebody has ended its silence; it is not made again");
    burning.fires(false);
    running.ends(0);
    burning.was_silent();
}

#[test]
fn sandbox_a_silence_needs_an_alertmanager() {
    let world = World::sandbox();
    let node = world.node("w1");
    run(&mut world.command(&["remediate", &node, "--silence", "--yes"]))
        .exits(2)
        .says("--silence needs --alertmanager");
}
