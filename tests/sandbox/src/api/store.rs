//! The objects, their versions, and what happened to them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::controllers;
use super::policy::Policy;
use super::resource::Resource;
use crate::random::uuid;
use crate::time;

/// Of each resource so many changes are kept for watches. Who is further behind gets a 410, as from a real watch cache.
const KEPT: usize = 2048;

/// So many unfinished lists are kept.
const MAX_PAGES: usize = 64;

/// All objects of an [`ApiServer`](super::ApiServer), as a test sees and changes them: without requests, without
/// checks, but with a new resourceVersion each time and an event for whoever watches.
///
/// Resources are named by their plural; `namespace` is `""` for those that have none.
pub struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    version: u64,
    /// Below this nothing is known any more.
    compacted: u64,
    logs: HashMap<&'static str, Log>,
    pages: Pages,
    /// The newest version, for whoever waits for one.
    changed: watch::Sender<u64>,
    /// The controllers are at work.
    settling: bool,
    pub(super) policies: Vec<Policy>,
}

/// Lists that were begun and not read to their end, by what continues them.
type Pages = BTreeMap<u64, Vec<Arc<Value>>>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The plural; both versions of events are one collection.
    pub(super) resource: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
}

#[derive(Default)]
struct Log {
    changes: VecDeque<Change>,
    /// The version of the newest change that is no longer there.
    forgotten: u64,
}

/// What happened to one object.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) key: Key,
    pub(super) old: Option<Arc<Value>>,
    pub(super) new: Option<Arc<Value>>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            version: 1000,
            compacted: 0,
            logs: HashMap::new(),
            pages: Pages::new(),
            changed: watch::Sender::new(1000),
            settling: false,
            policies: Vec::new(),
        }
    }
}

impl Store {
    /// The version of the newest change.
    pub fn resource_version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&Key::new(resource, namespace, name)?).map(Arc::as_ref)
    }

    /// The Node of this name; panics if there is none.
    pub fn node(&self, name: &str) -> &Value {
        self.get("nodes", "", name).unwrap_or_else(|| no_such("nodes", name))
    }

    /// This node's condition of this type; the first if there are several.
    pub fn condition(&self, node: &str, kind: &str) -> Option<&Value> {
        let conditions = self.node(node)["status"]["conditions"].as_array()?;
        conditions.iter().find(|condition| condition["type"] == kind)
    }

    /// All objects of a resource, by namespace and name.
    pub fn list(&self, resource: &str) -> Vec<&Value> {
        let all = self.objects.iter().filter(|(key, _)| key.resource == resource);
        all.map(|(_, object)| object.as_ref()).collect()
    }

    /// Puts an object there, new or in place of the one with its name. What metadata it lacks it gets.
    pub fn put(&mut self, mut object: Value) -> &Value {
        #[expect(clippy::panic, reason = "a test that puts something unknown is wrong")]
        let Some(resource) = Resource::of_object(&object) else {
            panic!("no such resource is served: {object}")
        };
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        let key = Key { resource: resource.plural, namespace: text("namespace"), name: text("name") };
        let old = self.objects.get(&key);
        for (field, value) in [("uid", uuid()), ("creationTimestamp", time::now())] {
            if object["metadata"][field].is_null() {
                object["metadata"][field] =
                    old.map_or_else(|| value.into(), |old| old["metadata"][field].clone());
            }
        }
        if resource.plural == "poddisruptionbudgets" && object["metadata"]["generation"].is_null() {
            object["metadata"]["generation"] = 1.into();
        }
        let object = resource.stored(object);
        self.commit(&key, Some(object));
        &self.objects[&key]
    }

    /// Changes the object; panics if there is none.
    pub fn update(&mut self, resource: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let key = self.key(resource, namespace, name);
        let mut object = Value::clone(&self.objects[&key]);
        change(&mut object);
        self.commit(&key, Some(object));
    }

    /// Sets one of the node's conditions to this status, as its owner would; adds it if it is not there.
    pub fn set_condition(&mut self, node: &str, kind: &str, status: &str) {
        let now = time::now();
        let new = json!({"type": kind, "status": status, "reason": "Sandbox", "message": "set by a test",
            "lastHeartbeatTime": now, "lastTransitionTime": now});
        self.update("nodes", "", node, |node| {
            let conditions = &mut node["status"]["conditions"];
            if conditions.is_null() {
                *conditions = json!([]);
            }
            let Some(conditions) = conditions.as_array_mut() else { return };
            match conditions.iter_mut().find(|condition| condition["type"] == kind) {
                Some(condition) => *condition = new,
                None => conditions.push(new),
            }
        });
    }

    /// Deletes the object; panics if there is none.
    pub fn remove(&mut self, resource: &str, namespace: &str, name: &str) -> Value {
        let key = self.key(resource, namespace, name);
        let object = Value::clone(&self.objects[&key]);
        self.commit(&key, None);
        object
    }

    /// Deletes the object and creates it again: the same, with another uid. Panics if there is none.
    pub fn recreate(&mut self, resource: &str, namespace: &str, name: &str) -> &Value {
        let mut object = self.remove(resource, namespace, name);
        object["metadata"]["uid"] = uuid().into();
        object["metadata"]["creationTimestamp"] = time::now().into();
        self.put(object)
    }

    /// From now on an update of this object is refused if `refuses` says so of its old and its new form, in the words of a
    /// `ValidatingAdmissionPolicy` of this name. What a test does to the store itself is not.
    pub fn refuse(
        &mut self,
        policy: &str,
        (resource, object): (&str, &str),
        message: &str,
        refuses: impl Fn(&Value, &Value) -> bool + Send + 'static,
    ) {
        let Key { resource, name: object, .. } = self.key(resource, "", object);
        let (name, message) = (policy.to_owned(), message.to_owned());
        self.policies.push(Policy { name, resource, object, message, refuses: Box::new(refuses) });
    }

    /// The policy is no more.
    pub fn allow(&mut self, policy: &str) {
        self.policies.retain(|one| one.name != policy);
    }

    /// Forgets the past: who watches from there, or continues a list, gets a 410.
    pub fn compact(&mut self) {
        self.compacted = self.version;
        self.logs.clear();
        self.pages.clear();
    }

    fn key(&self, resource: &str, namespace: &str, name: &str) -> Key {
        let key = Key::new(resource, namespace, name).filter(|key| self.objects.contains_key(key));
        key.unwrap_or_else(|| no_such(resource, name))
    }

    pub(super) fn find(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// The objects of a resource in one namespace, or in all if it is `None`.
    pub(super) fn select(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let Some(first) = Key::new(resource, namespace.unwrap_or_default(), "") else { return Vec::new() };
        let all = self.objects.range(first..).take_while(|(key, _)| {
            key.resource == resource && namespace.is_none_or(|namespace| namespace == key.namespace)
        });
        all.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Makes `new` what the key stands for, with the next version, and tells the watches.
    pub(super) fn commit(&mut self, key: &Key, new: Option<Value>) -> Arc<Value> {
        self.version += 1;
        let version = Value::from(self.version.to_string());
        let old = self.objects.remove(key);
        let new = new.map(|mut object| {
            object["metadata"]["resourceVersion"] = version.clone();
            Arc::new(object)
        });
        // What is deleted is told with the version of its deletion.
        let gone = old.clone().filter(|_| new.is_none()).map(|old| {
            let mut object = Value::clone(&old);
            object["metadata"]["resourceVersion"] = version;
            Arc::new(object)
        });
        if let Some(object) = &new {
            self.objects.insert(key.clone(), Arc::clone(object));
        }
        let log = self.logs.entry(key.resource).or_default();
        let told = gone.clone().or(old);
        log.changes.push_back(Change {
            version: self.version,
            key: key.clone(),
            old: told,
            new: new.clone(),
        });
        if log.changes.len() > KEPT
            && let Some(first) = log.changes.pop_front()
        {
            log.forgotten = first.version;
        }
        self.changed.send_replace(self.version);
        if controllers::CONCERNED.contains(&key.resource) && !self.settling {
            self.settling = true;
            controllers::settle(self);
            self.settling = false;
        }
        new.or(gone).unwrap_or_default()
    }

    /// What happened to a resource after a version; `None` if that is no longer known.
    pub(super) fn changes(&self, resource: &str, after: u64) -> Option<Vec<Change>> {
        if after < self.compacted {
            return None;
        }
        let Some(log) = self.logs.get(resource) else { return Some(Vec::new()) };
        (after >= log.forgotten)
            .then(|| log.changes.iter().filter(|change| change.version > after).cloned().collect())
    }

    /// Tells of each new version.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Keeps the rest of a list as it is now; the number gets it back.
    pub(super) fn keep_page(&mut self, rest: Vec<Arc<Value>>) -> u64 {
        let number = self.pages.last_key_value().map_or(1, |(number, _)| number + 1);
        self.pages.insert(number, rest);
        if self.pages.len() > MAX_PAGES {
            self.pages.pop_first();
        }
        number
    }

    pub(super) fn page(&self, number: u64) -> Option<Vec<Arc<Value>>> {
        self.pages.get(&number).cloned()
    }
}

impl Key {
    fn new(resource: &str, namespace: &str, name: &str) -> Option<Self> {
        let resource = Resource::of_plural(resource)?.plural;
        Some(Self { resource, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

#[expect(clippy::panic, reason = "a test that changes what is not there is wrong")]
fn no_such(resource: &str, name: &str) -> ! {
    panic!("the sandbox has no {resource} named {name}")
}
