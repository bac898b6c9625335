//! Three nodes: the first one's kubelet lies, the second has alerts, the third an unfinished remediation. And the machine of
//! whoever runs the program.

use serde_json::{Value, json};

use super::errand::{Ended, Errand, Places, run};
use super::forgery::Forgery;
use super::kubelet::{JSON, Kubelet, STRATEGIC};
use super::places::{Identity, Names, is_loopback, meant_ip, text};
use super::programs::{Call, Programs};
use crate::support::{Fleet, Sent, Witness, World};

const PODS: &str = "/api/v1/namespaces/kube-system/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/";

pub(super) struct Stage<'w> {
    world: &'w World,
    fleet: Fleet<'w>,
    kubelet: Kubelet,
    programs: Programs,
    witness: Witness,
    names: Names,
    leases: String,
    nodes: [Identity; 3],
    operator: Identity,
    /// Of the third node's remediation, at the Alertmanager.
    silence: String,
    /// The other two nodes and all that is theirs, before anybody forged anything.
    before: Value,
    rows: Value,
}

/// How a machine was told to reboot.
pub(super) type Order = &'static str;

impl<'w> Stage<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        let fleet = Fleet::new(world);
        for node in [&fleet.second, &fleet.third] {
            fleet.patch(node, &json!({"spec": {"providerID": format!("metal3://racks/{node}")}}));
        }
        let nodes = [&fleet.node, &fleet.second, &fleet.third].map(|node| Identity::of(&fleet, node));
        let mut names = names(&fleet, &nodes);
        let silence = remediates_the_third(&fleet, &names);
        names.set("third-silence", &silence);
        world.leave(format!("{PODS}?fieldSelector=spec.nodeName%3D{}&gracePeriodSeconds=0", fleet.node));
        for (name, label, value) in [
            ("ByName", "node", fleet.second.clone()),
            ("ByFullName", "node", format!("{}.example.com", fleet.second)),
            ("ByAddress", "instance", format!("{}:9100", nodes[1].ip())),
        ] {
            world.alert(&[("alertname", name), (label, &value)], "", true);
        }
        world.alert(
            &[("alertname", "BySecondLabel"), ("node", &names.fill("{rack}")), ("host", &fleet.second)],
            "",
            true,
        );
        world.sync(&[]).exits(0);
        let kubelet = Kubelet::of(world, &fleet.node);
        let mut this = Self {
            names,
            operator: Identity::of_the_operator(),
            programs: Programs::new(world),
            witness: Witness::start(world),
            leases: world.namespace("leases"),
            before: Value::Null,
            rows: Value::Null,
            world,
            fleet,
            kubelet,
            nodes,
            silence,
        };
        this.programs.claims(&this.nodes[0].boot_id);
        this.before = this.others_now();
        this.rows = this.status();
        assert_ne!(this.rows, json!([]), "what fires on the second node");
        this
    }

    /// The kubelet says all that; returns what it was not allowed to.
    pub(super) fn forge(&self, forgery: &Forgery) -> Vec<String> {
        if let Some(boot_id) = forgery.boot_id {
            // The machine says so, too, whoever asks it.
            let boot_id = self.names.fill(boot_id);
            self.programs.claims(&boot_id);
            let claimed = self.fleet.machines.claim_boot_id(&self.fleet.node, &boot_id);
            self.world.block_on(claimed).expect("a kubelet");
        }
        self.world.block_on(forgery.is_written(&self.kubelet, &self.names))
    }

    /// The same, when a run has sent so many requests.
    pub(super) fn forge_at(&self, nth: usize, forgery: &Forgery) {
        let (forgery, kubelet, names) = (forgery.clone(), self.kubelet.clone(), self.names.clone());
        self.witness.interpose(nth, async move {
            let _refused = forgery.is_written(&kubelet, &names).await;
        });
    }

    /// An exporter on the first node has a series that names the second, which Prometheus renames, as it does by default.
    pub(super) fn names_a_peer_on_its_page(&self) {
        let labels =
            [("alertname", "Forged"), ("node", &*self.fleet.node), ("exported_node", &*self.fleet.second)];
        self.world.alert(&labels, "", true);
    }

    /// Sync: nothing of the other nodes is set or cleared because of what this one says of itself, and an alert that has
    /// another node's own name reaches that.
    pub(super) fn sync(&self, more: &[&str]) -> Result<(), String> {
        let (world, second) = (self.world, self.fleet.second.as_str());
        let late = [("alertname", "Late"), ("node", second)];
        world.alert(&late, "", true);
        let run = world.sync(&[&["--server", self.witness.url()], more].concat());
        world.alert(&late, "", false);
        let shown = world.condition(second, "Late");
        if shown.as_ref().map(|late| text(late, "/status")) != Some("True") {
            return Err(format!("an alert by the second node's name does not reach it: {}", run.stderr));
        }
        let away = json!({"type": world.condition_type("Late"), "$patch": "delete"});
        world.patch_status(second, STRATEGIC, &json!({"status": {"conditions": [away]}}));
        self.others_are_as_before().map_err(|why| format!("{why}; sync: {}", run.stderr))?;
        self.wrote(&self.witness.take(), None)
    }

    /// Status changes nothing, and says of the other nodes what it said before.
    pub(super) fn statuses(&self) -> Result<(), String> {
        self.witness.take();
        let rows = self.status();
        let flags = ["--server", self.witness.url(), "--prefix", &self.world.prefix()];
        self.world.run(&[&["status", &self.fleet.node], &flags[..]].concat());
        let wrote: Vec<Sent> = self.witness.take().into_iter().filter(|sent| sent.method != "GET").collect();
        let reviews = wrote.iter().all(|sent| sent.path.ends_with("reviews"));
        if rows != self.rows || !reviews {
            return Err(format!("status: {rows:#} and not {:#}; {wrote:#?}", self.rows));
        }
        Ok(())
    }

    /// What status says of the other nodes.
    fn status(&self) -> Value {
        let flags =
            ["status", "-o", "json", "--server", self.witness.url(), "--prefix", &self.world.prefix()];
        let run = crate::support::run(&mut self.world.command(&flags));
        let all: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
        let items = all["items"].as_array().into_iter().flatten();
        let is_other = |item: &&Value| {
            let said = item.to_string();
            [&self.fleet.second, &self.fleet.third].iter().any(|node| said.contains(&format!("\"{node}\"")))
                && !said.contains(&format!("\"{}\"", self.fleet.node))
        };
        items.filter(is_other).cloned().collect()
    }

    /// Lets the program do this on a node, `0` for the one that lies. Returns how its machine was told to reboot, or what
    /// another one has to do with it.
    pub(super) fn sends(&self, errand: &Errand, about: usize) -> Result<(Ended, Vec<Order>), String> {
        let subject = &self.nodes[about].name;
        let places = Places {
            world: self.world,
            server: self.witness.url(),
            leases: &self.leases,
            programs: &self.programs,
        };
        let (reboots, says) = (self.reboots(), self.world.get_node(subject));
        let ended = run(errand.command(subject, &places), &self.programs, || {
            if errand.obeys {
                self.fleet.machines.reboot(subject).expect("a machine");
            }
        });
        let (sent, calls) = (self.witness.take(), self.programs.take());
        let judged =
            self.judge(errand, about, (&sent, &calls), (&reboots, text(&says, "/status/nodeInfo/bootID")));
        judged
            .map_err(|why| format!("{why}\n{} {:?} {}", errand.method, ended.code, ended.said))
            .map(|orders| (ended, orders))
    }

    fn judge(
        &self,
        errand: &Errand,
        about: usize,
        (sent, calls): (&[Sent], &[Call]),
        (reboots, says): (&[u32], &str),
    ) -> Result<Vec<Order>, String> {
        let subject = &self.nodes[about];
        self.wrote(sent, Some(&subject.name))?;
        let mut orders: Vec<Order> = Vec::new();
        let mut ends = Vec::new();
        for call in calls {
            self.concerns_only(call, subject)?;
            match call[0].as_str() {
                "ssh" if call[1] != "-G" => {
                    let remote = call.last().and_then(|remote| shlex::split(remote)).unwrap_or_default();
                    // A probe has no words but its script.
                    if let [_, _, _, boot_id, _] = &remote[..] {
                        orders.push("ssh");
                        ends.push(boot_id.clone());
                    }
                }
                // No boot ID is in it: it ends whichever the Node says.
                "power" => {
                    orders.push("command");
                    ends.push(says.to_owned());
                }
                _ => {}
            }
        }
        let is_made =
            |sent: &&Sent| sent.method == "POST" && sent.path == PODS && !sent.query.contains("dryRun");
        for pod in sent.iter().filter(is_made).filter(|pod| pod.was_done()) {
            if text(&pod.body, "/spec/containers/0/name") == "reboot" {
                orders.push(if pod.body["spec"]["initContainers"].is_array() { "signal" } else { "pod" });
                let words = pod.body["spec"]["containers"][0].to_string();
                ends.extend(
                    self.strangers(about).map(|other| other.boot_id.clone()).filter(|id| words.contains(id)),
                );
            }
        }
        // A person may override that two machines say the same.
        let foreign =
            self.strangers(about).find(|other| ends.iter().any(|id| other.boot_id.eq_ignore_ascii_case(id)));
        if let Some(other) = foreign.filter(|_| !errand.overrides) {
            return Err(format!("a request that ends the boot of {}", other.name));
        }
        for (place, (before, now)) in reboots.iter().zip(self.reboots()).enumerate() {
            if place != about && *before != now {
                return Err(format!("{} was rebooted", self.nodes[place].name));
            }
        }
        if about == 0 { self.others_are_as_before().map(|()| orders) } else { Ok(orders) }
    }

    /// All machines but that one, the operator's included.
    fn strangers(&self, about: usize) -> impl Iterator<Item = &Identity> {
        let others = self.nodes.iter().enumerate().filter(move |(place, _)| *place != about);
        others.map(|(_, node)| node).chain([&self.operator])
    }

    fn reboots(&self) -> Vec<u32> {
        self.nodes
            .iter()
            .map(|node| self.fleet.machines.facts(&node.name).expect("a machine").reboots)
            .collect()
    }

    /// Whether no word that a program was told leads to another machine.
    fn concerns_only(&self, call: &Call, subject: &Identity) -> Result<(), String> {
        let mut words = call[1..].to_vec();
        if call[0] == "ssh" {
            if call[1] == "-G" {
                return Ok(()); // it connects to nobody
            }
            let guarded = ["-a", "-x", "-k", "PermitLocalCommand=no", "ControlMaster=no", "Tunnel=no"];
            let place = call.iter().position(|word| word == "--").ok_or("ssh without --")?;
            if let Some(missing) =
                guarded.iter().find(|option| !call[..place].iter().any(|word| word == *option))
            {
                return Err(format!("ssh without {missing}"));
            }
            let destination = call[place + 1].as_str();
            if meant_ip(destination).is_none() && !subject.is_meant_by(destination) {
                return Err(format!("ssh to {destination}, which is not {}'s name", subject.name));
            }
            words = vec![destination.to_owned()];
        }
        for word in &words {
            let others = self.nodes.iter().chain([&self.operator]).filter(|other| other.name != subject.name);
            if let Some(other) = others.into_iter().find(|other| other.is_meant_by(word)) {
                return Err(format!("{} was told {word:?}: that is {}", call[0], other.name));
            }
            if is_loopback(word) {
                return Err(format!("{} was told {word:?}: that is whoever uses it", call[0]));
            }
        }
        Ok(())
    }

    /// Whether no request of a run over `subject` changes another node, or goes there; of sync if there is no subject.
    fn wrote(&self, sent: &[Sent], subject: Option<&str>) -> Result<(), String> {
        let foreign = sent.iter().find(|sent| !self.is_about(sent, subject));
        foreign
            .map_or(Ok(()), |sent| Err(format!("a request about another node than {subject:?}: {sent:#?}")))
    }

    fn is_about(&self, sent: &Sent, subject: Option<&str>) -> bool {
        let Some(subject) = subject else {
            // Conditions are looked at on the nodes themselves.
            let lease = self.world.lease_path();
            return sent.method == "GET"
                || (sent.method == "PATCH" && sent.path.ends_with("/status"))
                || sent.path.ends_with("reviews")
                || lease.starts_with(&sent.path);
        };
        let parts: Vec<&str> = sent.path.trim_start_matches('/').split('/').collect();
        let name = |pointer: &str| text(&sent.body, pointer);
        let changes = sent.method != "GET";
        match parts[..] {
            // Of others the Node itself is read, and nothing that their kubelets serve.
            ["api", "v1", "nodes", node, ..] => node == subject || (!changes && parts.len() == 4),
            ["api", "v1", "namespaces", _, "pods"] if changes => name("/spec/nodeName") == subject,
            ["api", "v1", "namespaces", _, "pods", _, ..] if changes || parts.len() > 6 => {
                sent.bound_to.as_deref().is_none_or(|node| node == subject)
            }
            ["api", "v1", "namespaces", _, "events"] if changes => name("/involvedObject/name") == subject,
            ["apis", "coordination.k8s.io", "v1", "namespaces", namespace, "leases", ..] if changes => {
                let lease = parts.get(6).copied().unwrap_or(name("/metadata/name"));
                namespace == self.leases
                    && [format!("sciuro-node-{subject}").as_str(), "sciuro-admission"].contains(&lease)
            }
            ["apis", "authorization.k8s.io", ..] => true,
            _ => !changes,
        }
    }

    fn others_are_as_before(&self) -> Result<(), String> {
        let now = self.others_now();
        if now == self.before { Ok(()) } else { Err(format!("{now:#} and not {:#}", self.before)) }
    }

    /// What there is of the other two nodes.
    fn others_now(&self) -> Value {
        let world = self.world;
        let get = |path: &str| world.try_api("GET", path, JSON, &Value::Null).unwrap_or_default();
        let node = |node: &str| {
            let object = world.get_node(node);
            let owned = world
                .owned(node)
                .into_iter()
                .map(|one| json!([one["type"], one["status"]]))
                .collect::<Vec<_>>();
            let leases = get(&format!("{LEASES}{}/leases/sciuro-node-{node}", self.leases));
            let pods = get(&format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"));
            let pods = pods["items"].as_array().into_iter().flatten();
            let pods = pods.map(|pod| json!([pod["metadata"]["uid"], pod["metadata"]["deletionTimestamp"]]));
            json!([
                object["metadata"]["uid"],
                object["spec"]["unschedulable"],
                object["metadata"]["annotations"],
                object["metadata"]["labels"],
                object["status"]["nodeInfo"]["bootID"],
                owned,
                leases["metadata"]["uid"],
                pods.collect::<Vec<_>>()
            ])
        };
        let silences = self.alertmanager("silences");
        let silence = silences.iter().find(|one| one["id"] == self.silence.as_str());
        let alerts = self.alertmanager(&format!("alerts?filter=test%3D%22{}%22", world.id()));
        let silenced: Vec<&Value> = alerts
            .iter()
            .filter(|alert| alert["labels"]["node"] != self.fleet.node.as_str())
            .filter(|alert| alert["status"]["silencedBy"].as_array().is_some_and(|by| !by.is_empty()))
            .map(|alert| &alert["labels"])
            .collect();
        json!([
            node(&self.fleet.second),
            node(&self.fleet.third),
            silence.map(|one| &one["status"]),
            silenced
        ])
    }

    fn alertmanager(&self, what: &str) -> Vec<Value> {
        let url = format!("{}/api/v2/{what}", self.world.alertmanager_url());
        let answer = self.world.block_on(async { reqwest::get(url).await?.text().await });
        serde_json::from_str(&answer.expect("an answer")).expect("JSON")
    }
}

/// A record, helper pods and a silence, as a run leaves them that was killed. Returns the silence.
fn remediates_the_third(fleet: &Fleet<'_>, names: &Names) -> String {
    let (world, third, id) = (fleet.world, fleet.third.as_str(), names.fill("{third-id}"));
    let record =
        super::forgery::record(&json!({"id": id, "nodeUID": "{third-uid}", "preBootID": "{third-boot}"}));
    let record = names.fill(&record.to_string());
    fleet.patch(
        third,
        &json!({"metadata": {"annotations": {"sciuro.dev/remediation": record}}, "spec": {"unschedulable": true}}),
    );
    for name in ["sciuro-probe-{third-id8}", "sciuro-reboot-{third-id8}-1"] {
        let labels = json!({"app.kubernetes.io/managed-by": "kubectl-sciuro", "sciuro.dev/remediation": id});
        let pod = json!({"metadata": {"name": names.fill(name), "labels": labels}, "spec": {"nodeName": third,
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "registry.example/c:1"}]}});
        world.create(PODS, &pod);
    }
    let comment = format!("kubectl sciuro remediates node/{third}, remediation {id}");
    world.silence_by("node", third, "kubectl-sciuro (alice@ops)", &comment)
}

fn names(fleet: &Fleet<'_>, [own, peer, third]: &[Identity; 3]) -> Names {
    let operator = Identity::of_the_operator();
    let mut names = Names::default();
    for (who, identity) in [("own", own), ("peer", peer), ("third", third)] {
        names.set(&format!("{who}-name"), &identity.name);
        names.set(&format!("{who}-boot"), &identity.boot_id);
        names.set(&format!("{who}-ip"), identity.ip().to_string());
        names.set(&format!("{who}-uid"), text(&fleet.world.get_node(&identity.name), "/metadata/uid"));
    }
    let std::net::IpAddr::V4(ip) = peer.ip() else { panic!("IPv4") };
    names.set("peer-decimal", u32::from(ip).to_string());
    names.set("peer-hex", format!("{:#x}", u32::from(ip)));
    names.set("peer-external-ip", peer.external_ip().to_string());
    names.set("peer-upper", peer.name.to_uppercase());
    names.set("peer-full", format!("{}.prod.example.com", peer.name));
    names.set("peer-provider", format!("metal3://racks/{}", peer.name));
    names.set("peer-boot-upper", peer.boot_id.to_uppercase());
    names.set("peer-boot-plain", peer.boot_id.replace('-', ""));
    names.set("host-boot", &operator.boot_id);
    names.set("host-boot-plain", operator.boot_id.replace('-', ""));
    names.set("host-name", &operator.name);
    names.set("host-ip", operator.ip().to_string());
    names.set("claimed-boot", &own.boot_id);
    for whose in ["third", "forged"] {
        let id = uuid::Uuid::new_v4().to_string();
        names.set(&format!("{whose}-id8"), &id[..8]);
        names.set(&format!("{whose}-id"), id);
    }
    names.set("rack", fleet.world.name("rack"));
    names.set("prefix", fleet.world.prefix());
    names
}
