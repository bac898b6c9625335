//! An answer with rules or alerts, read while it arrives: of its alerts those that pass the filters are kept, of its rules
//! the names of those that were not evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::core::alert::{Alert, Labels};
use crate::core::matcher::Matcher;
use crate::core::null::null_is_default;
use crate::core::source::cluster_of_canary;
use crate::source::Asked;
use crate::source::list::{Each, Room, annotations};

/// What is kept of an answer.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // they are independent of each other
pub(super) struct List {
    pub(super) status: Option<String>,
    pub(super) error: Option<String>,
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
    pub(super) alerts: Vec<Alert>,
    /// It is an answer with alerts, though there may be none.
    pub(super) has_alerts: bool,
    /// Alert names of rules that were not evaluated, and why; `None` if it has no rules.
    pub(super) unevaluated: Option<BTreeMap<String, String>>,
    pub(super) has_canary: bool,
    /// Of the canary.
    pub(super) clusters: BTreeSet<String>,
    pub(super) has_unknown_state: bool,
    /// Labels that are asked for and that none of its alerts and rules has.
    pub(super) unseen: BTreeSet<String>,
    /// Those that an alert, or a rule without alerts, lacks.
    pub(super) lacked: BTreeSet<String>,
    /// There is an object for what is asked for.
    pub(super) has_data: bool,
    /// There are more rules, on another page.
    pub(super) has_more: bool,
}

impl List {
    fn see(&mut self, labels: &Labels) {
        self.unseen.retain(|name| lacks(labels, name));
    }

    fn miss(&mut self, labels: &Labels, wanted: &BTreeSet<String>) {
        if self.lacked.len() < wanted.len() {
            self.lacked.extend(wanted.iter().filter(|name| lacks(labels, name)).cloned());
        }
    }

    pub(super) fn is_success(&self) -> bool {
        self.status.as_deref() == Some("success")
    }
}

fn lacks(labels: &Labels, name: &str) -> bool {
    labels.get(name).is_none_or(str::is_empty)
}

/// The alerts of an answer that is here already.
pub(crate) fn parse(answer: &[u8]) -> Result<Vec<Alert>, serde_json::Error> {
    let reader = Reader {
        filters: Arc::default(),
        canary: Some("Watchdog".into()),
        cluster_label: "cluster".into(),
        keep_annotations: true,
        room: Room::default(),
        wanted: BTreeSet::new(),
    };
    Ok(reader.deserialize(&mut serde_json::Deserializer::from_reader(answer))?.alerts)
}

/// What is wanted.
#[derive(Clone)]
pub(super) struct Reader {
    filters: Arc<[Matcher]>,
    canary: Option<Arc<str>>,
    cluster_label: Arc<str>,
    keep_annotations: bool,
    room: Room,
    /// Labels without which an alert does not pass, or that an expression asks for.
    wanted: BTreeSet<String>,
}

impl Reader {
    pub(super) fn new(asked: &Asked<'_>) -> Self {
        let needed = asked.filters.iter().filter(|filter| !filter.takes_absent());
        let wanted = needed.map(|filter| &filter.name).chain(asked.expression_labels);
        Self {
            wanted: wanted.cloned().collect(),
            filters: asked.filters.into(),
            canary: asked.canary.map(Into::into),
            cluster_label: asked.cluster_label.into(),
            keep_annotations: asked.keep_annotations,
            room: asked.room.clone(),
        }
    }

    fn take(&self, raw: RawAlert, list: &mut List) -> Option<Alert> {
        list.see(&raw.labels);
        list.miss(&raw.labels, &self.wanted);
        let pending = match raw.state.as_deref() {
            Some("firing") | None => false,
            Some("pending") => true,
            Some("inactive") => return None,
            Some(_) => {
                // It may be one that fires: what it is not must not be concluded.
                list.has_unknown_state = true;
                return None;
            }
        };
        let canary = self.canary.as_ref().filter(|_| !pending);
        if let Some(cluster) =
            canary.and_then(|name| cluster_of_canary(&raw.labels, name, &self.cluster_label))
        {
            list.has_canary = true;
            list.clusters.insert(cluster.to_owned());
        }
        let mut alert = Alert { labels: raw.labels, pending, ..Alert::default() };
        if !self.filters.iter().all(|filter| filter.matches(&alert)) {
            return None;
        }
        alert.annotations = annotations(raw.annotations.unwrap_or_default(), self.keep_annotations);
        // The start of pending, not of firing: the API has no other.
        alert.starts_at = raw.active_at.and_then(|text| text.parse().ok());
        Some(alert)
    }

    /// Whether an alert of the rule could pass. Its own labels are those of its alerts, unless they are templates.
    fn may_pass(&self, rule: &Rule) -> bool {
        let labels = rule.labels.iter().filter(|(name, _)| *name != "alertname");
        let alert =
            Alert { labels: labels.chain([("alertname", rule.name.as_str())]).collect(), ..Alert::default() };
        let is_certain = |name: &str| alert.labels.get(name).is_some_and(|value| !value.contains("{{"));
        self.filters.iter().all(|filter| !is_certain(&filter.name) || filter.matches(&alert))
    }
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = List;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<List, D::Error> {
        let list = List { unseen: self.wanted.clone(), ..List::default() };
        let mut reading = Reading { reader: self, list, rule: Rule::default() };
        Object(&mut reading, Level::Answer).deserialize(deserializer)?;
        Ok(reading.list)
    }
}

/// Every field but the labels may be missing; others than Prometheus have more of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAlert {
    #[serde(deserialize_with = "null_is_default")]
    labels: Labels,
    annotations: Option<Labels>,
    state: Option<String>,
    active_at: Option<String>,
}

/// What is known of the rule that is being read, but for its alerts.
#[derive(Default)]
struct Rule {
    name: String,
    labels: Labels,
    kind: String,
    health: String,
    error: String,
    /// What its labels are, they show: some may be of its series.
    has_alerts: bool,
}

impl Rule {
    /// Why what it does not list may fire nevertheless. Prometheus and its relatives write `err`, Grafana `error`. A rule that
    /// was never evaluated, as after a reload that changed it, is `unknown`. Others, such as Grafana's `nodata`, were.
    fn why_unevaluated(&self) -> Option<String> {
        /// It may repeat the rule's whole expression.
        const LONGEST: usize = 300;
        match self.health.as_str() {
            "err" | "error" if self.error.is_empty() => Some("it does not say why".to_owned()),
            "err" | "error" => Some(self.error.chars().take(LONGEST).collect()),
            "unknown" => Some("not yet".to_owned()),
            _ => None,
        }
    }
}

/// An answer, as far as it was read.
struct Reading {
    reader: Reader,
    list: List,
    rule: Rule,
}

/// The objects of an answer, one in the other.
#[derive(Clone, Copy)]
enum Level {
    Answer,
    Data,
    Group,
    Rule,
}

impl Reading {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        level: Level,
        name: &str,
        fields: &mut A,
    ) -> Result<(), A::Error> {
        match (level, name) {
            (Level::Answer, "status") => self.list.status = fields.next_value()?,
            (Level::Answer, "error") => self.list.error = fields.next_value()?,
            (Level::Answer, "warnings") => {
                self.list.warnings = fields.next_value_seed(Each::new(Some::<String>))?;
            }
            (Level::Answer, "infos") => {
                self.list.infos = fields.next_value_seed(Each::new(Some::<String>))?;
            }
            (Level::Answer, "data") => fields.next_value_seed(Object(self, Level::Data))?,
            (Level::Data, "groups") => {
                self.list.has_alerts = true;
                self.list.unevaluated.get_or_insert_default();
                fields.next_value_seed(Objects(self, Level::Group))?;
            }
            (Level::Data, "groupNextToken") => {
                self.list.has_more =
                    fields.next_value::<Option<String>>()?.is_some_and(|token| !token.is_empty());
            }
            (Level::Group, "rules") => fields.next_value_seed(Objects(self, Level::Rule))?,
            (Level::Data | Level::Rule, "alerts") => {
                self.list.has_alerts = true;
                let Self { reader, list, rule } = self;
                let each = Each::within(reader.room.clone(), |raw: RawAlert| {
                    rule.has_alerts = true;
                    reader.take(raw, list)
                });
                let mut alerts = fields.next_value_seed(each)?;
                list.alerts.append(&mut alerts);
            }
            (Level::Rule, "name") => self.rule.name = text(fields)?,
            (Level::Rule, "type") => self.rule.kind = text(fields)?,
            (Level::Rule, "health") => self.rule.health = text(fields)?,
            (Level::Rule, "lastError") => self.rule.error = text(fields)?,
            (Level::Rule, "labels") => {
                self.rule.labels = fields.next_value::<Option<Labels>>()?.unwrap_or_default();
            }
            _ => {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    /// The last field of an object was read.
    fn end<E: serde::de::Error>(&mut self, level: Level) -> Result<(), E> {
        let Level::Rule = level else { return Ok(()) };
        let rule = std::mem::take(&mut self.rule);
        self.list.see(&rule.labels);
        if !rule.has_alerts && rule.kind != "recording" {
            self.list.miss(&rule.labels, &self.reader.wanted);
        }
        // What is asked for are alerts; who does not know the parameter lists all rules.
        if let Some(why) = rule.why_unevaluated().filter(|_| rule.kind != "recording")
            && self.reader.may_pass(&rule)
        {
            self.reader.room.take(128 + rule.name.len() + why.len())?;
            self.list.unevaluated.get_or_insert_default().insert(rule.name, why);
        }
        Ok(())
    }
}

fn text<'de, A: MapAccess<'de>>(fields: &mut A) -> Result<String, A::Error> {
    Ok(fields.next_value::<Option<String>>()?.unwrap_or_default())
}

/// An object, field by field; within an answer, null is one without fields.
struct Object<'r>(&'r mut Reading, Level);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.1 {
            Level::Answer => deserializer.deserialize_map(self),
            Level::Data | Level::Group | Level::Rule => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.1 {
            Level::Answer => "an answer of Prometheus' API",
            Level::Data => "an object with rules or alerts",
            Level::Group => "a group of rules",
            Level::Rule => "a rule",
        })
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Self(reading, level) = self;
        reading.list.has_data |= matches!(level, Level::Data);
        while let Some(name) = fields.next_key::<String>()? {
            reading.field(level, &name, &mut fields)?;
        }
        reading.end(level)
    }
}

/// A list of objects; null is an empty one.
struct Objects<'r>(&'r mut Reading, Level);

impl<'de> DeserializeSeed<'de> for Objects<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(reading, level) = self;
        while list.next_element_seed(Object(reading, level))?.is_some() {}
        Ok(())
    }
}
