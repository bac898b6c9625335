//! `status -w`: goes on and shows what changes. One watch of the nodes; the sync Lease is read again now and then, so
//! that a reader needs neither a second watch nor the permission for one.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::freshness::LastSync;
use super::{field_selector, filter, is_meant, now, print, refuse_unknown};
use crate::cluster::{Cluster, NodeSelection, SeenNodes};
use crate::core::alert::Priority;
use crate::core::node::Condition;
use crate::core::report::{Filter, Row, ShownNode, rows};
use crate::error::{Exit, Result};
use crate::settings::StatusSettings;
use crate::ui::{Cell, Footer, Live, Table, Ui};

/// Changes that come this close together are shown together.
const BURST: Duration = Duration::from_millis(100);

/// Ages move on, and what nobody confirms becomes stale.
const TICK: Duration = Duration::from_secs(1);

/// How long a changed row is marked.
const MARK: Duration = Duration::from_secs(10);

/// The Lease is read again when nodes have changed, but not more often than this…
const LEASE_AT_MOST: Duration = Duration::from_secs(15);

/// …and when they have not, since a sync that changes no node writes it, too.
const LEASE_AT_LEAST: Duration = Duration::from_secs(60);

pub(super) async fn run(settings: &StatusSettings, cluster: &Cluster, ui: &Ui) -> Result<Exit> {
    let (nodes, seen) = watch::channel(SeenNodes::default());
    let (lease, last_sync) = watch::channel(None);
    let fields = field_selector(settings);
    let selection = NodeSelection { labels: settings.selector.as_deref(), fields: fields.as_deref() };
    tokio::select! {
        error = cluster.follow_nodes(selection, &nodes) => Err(error),
        never = read_lease(settings, cluster, seen.clone(), &lease) => match never {},
        exit = show(settings, cluster, ui, seen.clone(), last_sync) => exit,
    }
}

async fn read_lease(
    settings: &StatusSettings,
    cluster: &Cluster,
    mut seen: watch::Receiver<SeenNodes<ShownNode>>,
    lease: &watch::Sender<Option<LastSync>>,
) -> Infallible {
    loop {
        let read = LastSync::read(settings, cluster).await;
        lease.send_if_modified(|known| {
            // What was recorded stays true while nobody answers, and its age says enough.
            let is_worse =
                matches!(read, LastSync::NotReadable(_)) && matches!(known, Some(LastSync::Recorded(..)));
            if !is_worse {
                *known = Some(read);
            }
            !is_worse
        });
        let read_at = Instant::now();
        tokio::time::sleep_until(read_at + LEASE_AT_MOST).await;
        let _quiet = tokio::time::timeout_at(read_at + LEASE_AT_LEAST, seen.changed()).await;
        seen.mark_unchanged();
    }
}

async fn show(
    settings: &StatusSettings,
    cluster: &Cluster,
    ui: &Ui,
    mut seen: watch::Receiver<SeenNodes<ShownNode>>,
    mut last_sync: watch::Receiver<Option<LastSync>>,
) -> Result<Exit> {
    // Neither sender ends before this does.
    let _ = seen.wait_for(|seen| seen.listed).await;
    let _ = last_sync.wait_for(Option::is_some).await;
    refuse_unknown(settings, cluster, |name| seen.borrow().nodes.contains_key(name)).await?;
    let mut view = match ui.live() {
        Some(live) => View::InPlace(InPlace { live, rows: HashMap::new(), is_first: true }),
        None => View::Appended(Appended::default()),
    };
    let mut gone = pin!(ui.reader_gone());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        {
            let seen = seen.borrow_and_update();
            let last_sync = last_sync.borrow_and_update();
            let last_sync = last_sync.as_ref().unwrap_or(&LastSync::NotConsulted);
            let filter = filter(settings, last_sync);
            let picture = Picture { settings, seen: &seen, last_sync, filter, now: now(cluster) };
            if !view.show(&picture, ui) {
                return Ok(Exit::Done);
            }
        }
        tokio::select! {
            _ = seen.changed() => tokio::time::sleep(BURST).await,
            _ = last_sync.changed() => {}
            _ = ticks.tick() => {}
            () = &mut gone => return Ok(Exit::Done),
        }
    }
}

/// All that is known at one moment.
struct Picture<'p> {
    settings: &'p StatusSettings,
    seen: &'p SeenNodes<ShownNode>,
    last_sync: &'p LastSync,
    filter: Filter,
    now: Timestamp,
}

impl Picture<'_> {
    fn nodes(&self) -> impl Iterator<Item = &ShownNode> {
        self.seen.nodes.values().filter(|node| is_meant(&node.node.name, self.settings))
    }

    fn rows(&self) -> Vec<Row<'_>> {
        rows(self.nodes(), &self.filter, self.last_sync.last_full(self.now), self.now)
    }

    fn row<'n>(&self, node: &'n ShownNode, condition: &'n Condition) -> Row<'n> {
        Row::new(node, condition, &self.filter, self.last_sync.last_full(self.now), self.now)
    }

    fn cells(&self, row: &Row<'_>) -> Vec<Cell> {
        print::cells(row, &self.filter.prefix, self.settings, self.now)
    }

    fn summary(&self, rows: &[Row<'_>]) -> print::Summary {
        let doubt = self.interruption().or_else(|| self.last_sync.doubt(self.now));
        print::summary(rows, self.nodes().count(), self.settings, self.last_sync, doubt.as_deref(), self.now)
    }

    fn interruption(&self) -> Option<String> {
        let (since, why) = self.seen.interrupted.as_ref()?;
        Some(format!("no news since {}: {why}", since.strftime("%H:%M:%SZ")))
    }
}

enum View<'u> {
    InPlace(InPlace<'u>),
    Appended(Appended),
}

impl View<'_> {
    /// `false` if nobody looks any more.
    fn show(&mut self, picture: &Picture<'_>, ui: &Ui) -> bool {
        match self {
            Self::InPlace(view) => view.show(picture),
            Self::Appended(view) => view.show(picture, ui),
        }
    }
}

/// Which condition of which node; the number tells conditions of one type apart.
type Key = (String, String, usize);

fn keys(rows: &[Row<'_>]) -> Vec<Key> {
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    rows.iter()
        .map(|row| {
            let (node, type_) = (row.node.node.name.as_str(), row.condition.type_.as_str());
            let count = counts.entry((node, type_)).or_default();
            *count += 1;
            (node.to_owned(), type_.to_owned(), *count)
        })
        .collect()
}

/// What a reader sees of a row, without the ages that move on by themselves.
fn essence(row: &Row<'_>, settings: &StatusSettings) -> u64 {
    let mut hasher = DefaultHasher::new();
    let condition = row.condition;
    (
        &condition.status,
        row.stale.is_some(),
        row.priority.map(Priority::number),
        row.message,
        condition.last_transition,
    )
        .hash(&mut hasher);
    if settings.is_wide() {
        let node = row.node;
        (node.status(), node.roles(), &condition.reason, node.remediation.is_some()).hash(&mut hasher);
    }
    for label in &settings.label_columns {
        row.node.labels.get(label).hash(&mut hasher);
    }
    if settings.show_labels {
        row.node.labels.hash(&mut hasher);
    }
    hasher.finish()
}

/// The table as it is now, drawn over the one before.
struct InPlace<'u> {
    live: Live<'u>,
    /// The essence of each row, and when it changed.
    rows: HashMap<Key, (u64, Option<Instant>)>,
    is_first: bool,
}

impl InPlace<'_> {
    fn show(&mut self, picture: &Picture<'_>) -> bool {
        let rows = picture.rows();
        let news = if self.is_first { None } else { Some(Instant::now()) };
        self.is_first = false;
        let mut known = std::mem::take(&mut self.rows);
        let mut marked = Vec::with_capacity(rows.len());
        for (key, row) in keys(&rows).into_iter().zip(&rows) {
            let essence = essence(row, picture.settings);
            let state = match known.remove(&key) {
                Some(state) if state.0 == essence => state,
                _ => (essence, news),
            };
            marked.push(state.1.is_some_and(|changed| changed.elapsed() < MARK));
            self.rows.insert(key, state);
        }
        let mut table = Table::new(&print::headers(picture.settings));
        for row in rows.iter().take(self.live.height()) {
            table.push(picture.cells(row));
        }
        let summary = picture.summary(&rows);
        let footer = Footer { note: summary.note.as_deref(), warning: summary.warning.as_deref() };
        self.live.draw(table, &marked, rows.len(), !picture.settings.no_headers, footer)
    }
}

/// The status of a condition that is no longer there, in the row that says so.
const GONE: &str = "<gone>";

/// Each row when it is new, has changed, or has stopped firing, below those before, as kubectl does it.
#[derive(Default)]
struct Appended {
    printed: HashMap<Key, Printed>,
    widths: Vec<usize>,
    /// The rows of the beginning are there, and the sentence below them.
    has_begun: bool,
    has_headers: bool,
    interrupted: bool,
}

struct Printed {
    essence: u64,
    /// With this condition, and what the node's own status is made of.
    node: ShownNode,
}

impl Appended {
    fn show(&mut self, picture: &Picture<'_>, ui: &Ui) -> bool {
        let rows = picture.rows();
        let mut ended = std::mem::take(&mut self.printed);
        let mut table = Table::new(&print::headers(picture.settings));
        for (key, row) in keys(&rows).into_iter().zip(&rows) {
            let essence = essence(row, picture.settings);
            let printed = match ended.remove(&key) {
                Some(printed) if printed.essence == essence => printed,
                _ => {
                    table.push(picture.cells(row));
                    Printed { essence, node: only(row) }
                }
            };
            self.printed.insert(key, printed);
        }
        for (key, printed) in ended.into_iter().collect::<BTreeMap<_, _>>() {
            let mut last = printed.node;
            let now = picture.seen.nodes.get(&key.0).and_then(|node| Some((node, condition(node, &key)?)));
            let row = if let Some((node, condition)) = now {
                picture.row(node, condition)
            } else {
                let Some(condition) = last.node.conditions.first_mut() else { continue };
                GONE.clone_into(&mut condition.status);
                picture.row(&last, &last.node.conditions[0])
            };
            table.push(picture.cells(&row));
        }
        let mut is_read = true;
        if !table.is_empty() {
            let with_headers = !self.has_headers && !picture.settings.no_headers;
            is_read = ui.further_rows(&table, with_headers, &mut self.widths);
            self.has_headers = true;
        }
        self.say(picture, &rows, ui);
        is_read
    }

    fn say(&mut self, picture: &Picture<'_>, rows: &[Row<'_>], ui: &Ui) {
        let was_interrupted = std::mem::replace(&mut self.interrupted, picture.seen.interrupted.is_some());
        if !std::mem::replace(&mut self.has_begun, true) {
            picture.summary(rows).print(ui);
            return;
        }
        match (was_interrupted, picture.interruption()) {
            (false, Some(interruption)) => ui.warning(&interruption),
            (true, None) => ui.note("connected again; nothing was missed"),
            _ => {}
        }
    }
}

/// The node of a row, with the row's condition first and Ready, if it has that.
fn only(row: &Row<'_>) -> ShownNode {
    let mut node = row.node.clone();
    node.node.conditions.retain(|condition| condition.type_ == "Ready" && condition != row.condition);
    node.node.conditions.insert(0, row.condition.clone());
    node
}

fn condition<'n>(node: &'n ShownNode, (_, type_, number): &Key) -> Option<&'n Condition> {
    node.node.conditions.iter().filter(|condition| condition.type_ == *type_).nth(number - 1)
}
