//! Reads and writes of objects, with the checks of the real server in its order.

use std::sync::Arc;

use serde_json::{Value, json};

use super::resource::Resource;
use super::route::Info;
use super::selector::Selector;
use super::status::{self, Result, Status};
use super::store::{Key, Store};
use super::view::View;
use super::{defaults, deletion, eviction, log, managed, policy, strategic, typed};
use crate::http::{Reply, Request};
use crate::random::uuid;
use crate::time;

/// etcd's limit for one write, which the real server meets.
const MAX_OBJECT: usize = 1_572_864;

/// Answers every verb but `watch`.
pub(super) fn answer(store: &mut Store, info: &Info, request: &Request) -> Result<Reply> {
    match (info.subresource.as_str(), info.verb) {
        ("eviction", "create") => return eviction::evict(store, info, request),
        ("log", "get") => return log::log(store, info, request),
        ("eviction" | "log", _) => return Err(Status::method_not_allowed()),
        _ => {}
    }
    let view = View::of(request);
    let call = Call { info, request, dry_run: request.parameter("dryRun").as_deref() == Some("All") };
    let (code, object) = match (info.verb, info.name.is_empty()) {
        ("list", _) => return list(store, info, request, view),
        ("get", _) => (200, Arc::clone(call.existing(store)?)),
        ("create", true) => (201, call.create(store, call.body()?)?),
        ("update", false) => call.update(store)?,
        ("patch", false) => (200, call.patch(store)?),
        ("delete", false) => return Ok(Reply::json(200, &call.delete(store)?)),
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(Reply::json(code, &view.object(info.resource, &object)))
}

fn list(store: &mut Store, info: &Info, request: &Request, view: View) -> Result<Reply> {
    let parameter = |name: &str| request.parameter(name).unwrap_or_default();
    let selector = Selector::parse(info.resource, &parameter("labelSelector"), &parameter("fieldSelector"))?;
    let given = parameter("resourceVersion");
    if !given.is_empty() && given.parse::<u64>().is_err() {
        return Err(Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {given:?}: strconv.ParseUint: parsing {given:?}: \
            invalid syntax"
        )));
    }
    let (version, mut items) = match parameter("continue").as_str() {
        "" => (store.resource_version(), store.select(info.resource.plural, info.namespace.as_deref())),
        token => {
            let known = token
                .split_once('.')
                .and_then(|(version, page)| Some((version.parse().ok()?, page.parse().ok()?)));
            let (version, page) = known
                .ok_or_else(|| Status::bad_request("invalid continue token: continue key is not valid"))?;
            let expired = "The provided continue parameter is too old to display a consistent list result. You can \
                start a new list without the continue parameter, or use the continue token in this response to \
                retrieve the remainder of the results.";
            (version, store.page(page).ok_or_else(|| Status::expired(expired))?)
        }
    };
    items.retain(|object| selector.matches(object));
    let mut metadata = json!({"resourceVersion": version.to_string()});
    let limit = parameter("limit").parse().unwrap_or(0);
    if limit > 0 && items.len() > limit {
        let rest = items.split_off(limit);
        metadata["remainingItemCount"] = rest.len().into();
        metadata["continue"] = format!("{version}.{}", store.keep_page(rest)).into();
    }
    Ok(view.list(info.resource, &items, metadata))
}

/// One request for one object.
struct Call<'a> {
    info: &'a Info,
    request: &'a Request,
    dry_run: bool,
}

impl Call<'_> {
    fn key(&self) -> Key {
        Key {
            resource: self.info.resource.plural,
            namespace: self.info.namespace.clone().unwrap_or_default(),
            name: self.info.name.clone(),
        }
    }

    fn existing<'s>(&self, store: &'s Store) -> Result<&'s Arc<Value>> {
        store.find(&self.key()).ok_or_else(|| Status::not_found(self.info.resource, &self.info.name))
    }

    /// The object in the body, as it would be stored.
    fn body(&self) -> Result<Value> {
        let Resource { kind, version, .. } = self.info.resource;
        if !self.request.content_type().contains("json") {
            return Err(Status::unsupported_body());
        }
        let mut object: Value = serde_json::from_slice(&self.request.body).map_err(|error| {
            Status::bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse \
                error: {error}"
            ))
        })?;
        let given = object["kind"].as_str().filter(|kind| !kind.is_empty()).unwrap_or(kind).to_owned();
        let wrong = |why: &str| {
            let message = format!("{given} in version \"{version}\" cannot be handled as a {kind}: {why}");
            Status::bad_request(message)
        };
        if !object.is_object() {
            return Err(wrong("it is not an object"));
        }
        if given != *kind {
            return Err(wrong("unknown conversion"));
        }
        let api_version = self.info.resource.api_version();
        if object["apiVersion"].as_str().is_some_and(|given| given != api_version) {
            return Err(Status::bad_request(format!(
                "the API version in the data ({}) does not match the expected API version ({api_version})",
                object["apiVersion"].as_str().unwrap_or_default(),
            )));
        }
        object["kind"] = (*kind).into();
        object["apiVersion"] = api_version.into();
        typed::canonical(self.info.resource, self.info.resource.stored(object)).map_err(|why| wrong(&why))
    }

    fn create(&self, store: &mut Store, mut object: Value) -> Result<Arc<Value>> {
        let Info { resource, namespace, .. } = self.info;
        if resource.namespaced {
            let namespace = namespace.as_deref().ok_or_else(Status::method_not_allowed)?;
            let given = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
            if given != namespace {
                return Err(Status::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            if store.get("namespaces", "", namespace).is_none()
                && let Some(namespaces) = Resource::of_plural("namespaces")
            {
                return Err(Status::not_found(namespaces, namespace));
            }
            object["metadata"]["namespace"] = namespace.into();
        }
        let mut key =
            Key { name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), ..self.key() };
        if let Some(base) = object["metadata"]["generateName"].as_str().filter(|_| key.name.is_empty()) {
            key.name = format!("{base}{}", &uuid()[..5]);
            object["metadata"]["name"] = key.name.clone().into();
        }
        if key.name.is_empty() {
            let detail = "Required value: name or generateName is required";
            let Resource { group, kind, .. } = resource;
            return Err(Status::invalid(group, kind, "", "metadata.name", "FieldValueRequired", detail));
        }
        if let Some(refusal) = eviction::terminating(store, self.info, &key.namespace) {
            return Err(refusal);
        }
        if store.find(&key).is_some() {
            return Err(Status::already_exists(resource, &key.name));
        }
        let given = object["metadata"]["resourceVersion"].take();
        if self.info.verb == "create" && given.as_str().is_some_and(|version| !version.is_empty()) {
            return Err(Status::storage("resourceVersion should not be set on objects to be created"));
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
        }
        object["metadata"]["uid"] = uuid().into();
        object["metadata"]["creationTimestamp"] = time::now().into();
        defaults::fill(&mut object);
        managed::record(&mut object, None, self.request, "");
        self.store(store, &key, object)
    }

    fn update(&self, store: &mut Store) -> Result<(u16, Arc<Value>)> {
        let Info { resource, name, .. } = self.info;
        let new = self.body()?;
        self.check_name(&new)?;
        let found = store.find(&self.key()).cloned();
        let metadata = &new["metadata"];
        // An object that is gone has another uid than the one that is meant, too.
        let live = found.as_ref().and_then(|old| old["metadata"]["uid"].as_str()).unwrap_or_default();
        if let Some(uid) = metadata["uid"].as_str().filter(|uid| !uid.is_empty() && *uid != live) {
            return Err(Status::conflict(
                resource,
                name,
                &format!(
                    "StorageError: invalid object, Code: 4, Key: /registry/minions/{name}, ResourceVersion: 0, \
                AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {live}"
                ),
            ));
        }
        let Some(old) = found else {
            if resource.create_on_update && self.info.subresource.is_empty() {
                return Ok((201, self.create(store, new)?));
            }
            return Err(Status::not_found(resource, name));
        };
        if metadata["resourceVersion"].as_str().unwrap_or_default().is_empty()
            && !resource.unconditional_update
        {
            let detail = "Invalid value: 0: must be specified for an update";
            let Resource { group, plural, .. } = resource; // of all errors this one has the plural for its kind
            let field = "metadata.resourceVersion";
            return Err(Status::invalid(group, plural, name, field, "FieldValueInvalid", detail));
        }
        Ok((200, self.replace(store, &old, new)?))
    }

    fn patch(&self, store: &mut Store) -> Result<Arc<Value>> {
        let resource = self.info.resource;
        let patch = || -> Result<Value> {
            serde_json::from_slice(&self.request.body).map_err(|error| Status::bad_request(error.to_string()))
        };
        let old = self.existing(store)?.clone();
        let live = resource.served(&old);
        let media = self.request.content_type().split(';').next().unwrap_or_default().trim();
        let (patch, patched) = match media {
            "application/merge-patch+json" => {
                let patch = patch()?;
                let patched = merge(live, &patch);
                (patch, patched)
            }
            "application/strategic-merge-patch+json" => {
                let patch = patch()?;
                if !patch.is_object() {
                    return Err(Status::bad_request(
                        "json: cannot unmarshal the patch into Go value of type map[string]interface {}",
                    ));
                }
                let patched = strategic::merge(&live, &patch, resource.merge)
                    .map_err(|error| Status::storage(&error))?;
                (patch, patched)
            }
            // The real server also takes application/json-patch+json and application/apply-patch+yaml.
            _ => return Err(Status::unsupported_patch()),
        };
        let new = typed::canonical(resource, resource.stored(patched))
            .map_err(|why| Status::invalid_patch(&patch, &why))?;
        self.check_name(&new)?;
        self.replace(store, &old, new)
    }

    fn delete(&self, store: &mut Store) -> Result<Value> {
        let Info { resource, name, .. } = self.info;
        let old = self.existing(store)?.clone();
        let options: Value = serde_json::from_slice(&self.request.body).unwrap_or_default();
        for (field, title) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let (given, live) = (&options["preconditions"][field], &old["metadata"][field]);
            if let Some(given) = given.as_str().filter(|given| live != *given) {
                let live = live.as_str().unwrap_or_default();
                return Err(Status::precondition(resource, name, title, given, live));
            }
        }
        let dry_run = self.dry_run || options["dryRun"] == json!(["All"]);
        let ending = deletion::begin(resource, &old, &options);
        let goes_on = ending.is_some();
        let left = if dry_run || ending.as_ref() == Some(&*old) {
            ending.map_or(old.clone(), Arc::new)
        } else {
            store.commit(&self.key(), ending)
        };
        // Pods are among the few that are answered with themselves.
        Ok(if goes_on || resource.kind == "Pod" {
            Value::clone(&left)
        } else {
            status::deleted(resource, name, old["metadata"]["uid"].as_str().unwrap_or_default())
        })
    }

    fn check_name(&self, object: &Value) -> Result<()> {
        let given = object["metadata"]["name"].as_str().unwrap_or_default();
        if given == self.info.name {
            return Ok(());
        }
        Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            self.info.name
        )))
    }

    /// Puts `new` in the place of `old`, as far as this request may change it.
    fn replace(&self, store: &mut Store, old: &Value, mut new: Value) -> Result<Arc<Value>> {
        let Info { resource, name, subresource, .. } = self.info;
        let live = &old["metadata"];
        let given = |field: &str| new["metadata"][field].as_str().unwrap_or_default().to_owned();
        let version = given("resourceVersion");
        if !version.is_empty() && live["resourceVersion"] != version {
            return Err(Status::modified(resource, name));
        }
        if !given("uid").is_empty() && live["uid"] != given("uid") {
            return Err(Status::immutable_uid(resource, name, &given("uid")));
        }
        // These are not the client's to change, and it is no error to try.
        for field in [
            "resourceVersion",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
            "namespace",
            "generation",
        ] {
            keep(&mut new["metadata"], live, field);
        }
        for field in ["kind", "apiVersion"] {
            keep(&mut new, old, field);
        }
        // A write to the object leaves its status alone, a write to its status the rest: but not labels and
        // annotations, which go through either (`nodeStatusStrategy`).
        if resource.status && subresource.is_empty() {
            keep(&mut new, old, "status");
        } else if resource.status {
            keep(&mut new, old, "spec");
        }
        policy::check_annotations(resource, &new)?;
        if subresource.is_empty() {
            policy::admit(&store.policies, resource, old, &new)?;
        }
        if new == *old {
            return Ok(Arc::new(new));
        }
        if let Some(generation) = live["generation"].as_i64().filter(|_| new["spec"] != old["spec"]) {
            new["metadata"]["generation"] = (generation + 1).into();
        }
        managed::record(&mut new, Some(old), self.request, subresource);
        if deletion::is_due(&new) {
            return Ok(if self.dry_run { Arc::new(new) } else { store.commit(&self.key(), None) });
        }
        self.store(store, &self.key(), new)
    }

    fn store(&self, store: &mut Store, key: &Key, object: Value) -> Result<Arc<Value>> {
        if object.to_string().len() > MAX_OBJECT {
            return Err(Status::storage("etcdserver: request is too large"));
        }
        Ok(if self.dry_run { Arc::new(object) } else { store.commit(key, Some(object)) })
    }
}

/// Makes a field of `new` what it is in `old`, absent if it is absent there.
fn keep(new: &mut Value, old: &Value, field: &str) {
    let Some(new) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => new.insert(field.to_owned(), value.clone()),
        None => new.remove(field),
    };
}

/// JSON merge patch, RFC 7386: lists are replaced.
fn merge(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = match target {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    for (key, value) in patch {
        match target.remove(key) {
            _ if value.is_null() => {}
            old => drop(target.insert(key.clone(), merge(old.unwrap_or_default(), value))),
        }
    }
    Value::Object(target)
}
