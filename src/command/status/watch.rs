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
use super::table::{GONE, Layout, without_rows};
use super::{field_selector, filter, is_meant, now, print, refuse_unknown, remediations};
use crate::cluster::{Cluster, NodeSelection, SeenNodes};
use crate::core::alert::Priority;
use crate::core::node::Condition;
use crate::core::remediation::RecordSeen;
use crate::core::report::{Filter, Row, ShownNode, rows, unfinished};
use crate::error::{Exit, Result};
use crate::settings::StatusSettings;
use crate::ui::{Cell, Footer, Live, Ui};

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

    fn unfinished(&self) -> Vec<&ShownNode> {
        unfinished(self.nodes())
    }

    fn layout(&self, remediation: bool) -> Layout<'_> {
        let remediation = remediation || self.settings.is_wide();
        Layout { settings: self.settings, prefix: &self.filter.prefix, remediation, now: self.now }
    }

    fn summary(&self, rows: &[Row<'_>]) -> print::Summary {
        let doubt = self.interruption().or_else(|| self.last_sync.doubt(self.now));
        let (nodes, unfinished) = (self.nodes().count(), self.unfinished().len());
        let seen = print::Seen { nodes, unfinished, doubt: doubt.as_deref() };
        print::summary(rows, seen, self.settings, self.last_sync, self.now)
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

/// Which condition of which node; the number tells conditions of one type apart. None, for a node's remediation.
type Key = (String, Option<(String, usize)>);

fn keys(rows: &[Row<'_>]) -> Vec<Key> {
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    rows.iter()
        .map(|row| {
            let (node, type_) = (row.node.node.name.as_str(), row.condition.type_.as_str());
            let count = counts.entry((node, type_)).or_default();
            *count += 1;
            (node.to_owned(), Some((type_.to_owned(), *count)))
        })
        .collect()
}

/// What a reader sees of a line, without the ages that move on by themselves.
fn essence(node: &ShownNode, row: Option<&Row<'_>>, layout: &Layout<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let settings = layout.settings;
    if let Some(row) = row {
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
            condition.reason.hash(&mut hasher);
        }
    }
    if settings.is_wide() {
        (node.status(), node.roles()).hash(&mut hasher);
    }
    // The column may be new: what it is empty for has not changed.
    if layout.remediation && node.remediation != RecordSeen::None {
        let timeless = remediations::step(node, node.remediation_since().unwrap_or_default());
        (timeless, node.remediation_since(), remediations::message(node)).hash(&mut hasher);
    }
    for label in &settings.label_columns {
        node.labels.get(label).hash(&mut hasher);
    }
    if settings.show_labels {
        node.labels.hash(&mut hasher);
    }
    hasher.finish()
}

/// A line as it is now, with what it is of.
type Line<'n> = (Key, &'n ShownNode, Option<&'n Row<'n>>);

/// The lines of the rows, and of the remediations of nodes without one.
fn lines<'n>(rows: &'n [Row<'n>], unfinished: &[&'n ShownNode]) -> Vec<Line<'n>> {
    let of_rows = keys(rows).into_iter().zip(rows).map(|(key, row)| (key, row.node, Some(row)));
    let of_remediations =
        without_rows(unfinished, rows).into_iter().map(|node| (remediation(node), node, None));
    of_rows.chain(of_remediations).collect()
}

fn remediation(node: &ShownNode) -> Key {
    (node.node.name.clone(), None)
}

fn cells(layout: &Layout<'_>, node: &ShownNode, row: Option<&Row<'_>>) -> Vec<Cell> {
    row.map_or_else(|| layout.of_remediation(node), |row| layout.of_condition(row))
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
        let unfinished = picture.unfinished();
        let layout = picture.layout(!unfinished.is_empty());
        let lines = lines(&rows, &unfinished);
        let mut table = layout.table();
        for (_, node, row) in lines.iter().take(self.live.height()) {
            table.push(cells(&layout, node, *row));
        }
        let total = lines.len();
        let mut marked = Vec::with_capacity(total);
        for (key, node, row) in lines {
            let essence = essence(node, row, &layout);
            let state = match known.remove(&key) {
                Some(state) if state.0 == essence => state,
                _ => (essence, news),
            };
            marked.push(state.1.is_some_and(|changed| changed.elapsed() < MARK));
            self.rows.insert(key, state);
        }
        let summary = picture.summary(&rows);
        let hints = remediations::lines(&unfinished, picture.settings, picture.now);
        let footer =
            Footer { note: summary.note.as_deref(), lines: &hints, warning: summary.warning.as_deref() };
        self.live.draw(table, &marked, total, !picture.settings.no_headers, footer)
    }
}

/// Each row when it is new, has changed, or has stopped firing, below those before, as kubectl does it.
#[derive(Default)]
struct Appended {
    printed: HashMap<Key, Printed>,
    /// Empty before the headers.
    widths: Vec<usize>,
    /// The rows of the beginning are there, and the sentence below them.
    has_begun: bool,
    /// There has been a remediation.
    has_remediations: bool,
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
        let unfinished = picture.unfinished();
        if !unfinished.is_empty()
            && !std::mem::replace(&mut self.has_remediations, true)
            && !picture.settings.is_wide()
        {
            // With a column more, it is another table.
            self.widths.clear();
        }
        let layout = picture.layout(self.has_remediations);
        let mut ended = std::mem::take(&mut self.printed);
        let mut table = layout.table();
        for (key, node, row) in lines(&rows, &unfinished) {
            let essence = essence(node, row, &layout);
            let printed = match ended.remove(&key) {
                Some(printed) if printed.essence == essence => printed,
                _ => {
                    table.push(cells(&layout, node, row));
                    Printed { essence, node: row.map_or_else(|| node.clone(), only) }
                }
            };
            self.printed.insert(key, printed);
        }
        for ((name, key), printed) in ended.into_iter().collect::<BTreeMap<_, _>>() {
            let mut last = printed.node;
            let Some(key) = key else {
                // It may go on in a line of a condition.
                if !unfinished.iter().any(|node| node.node.name == name) {
                    last.remediation = RecordSeen::None;
                    table.push(layout.of_remediation(&last));
                }
                continue;
            };
            let now = picture.seen.nodes.get(&name).and_then(|node| Some((node, condition(node, &key)?)));
            let row = if let Some((node, condition)) = now {
                picture.row(node, condition)
            } else {
                let Some(condition) = last.node.conditions.first_mut() else { continue };
                GONE.clone_into(&mut condition.status);
                picture.row(&last, &last.node.conditions[0])
            };
            table.push(layout.of_condition(&row));
        }
        let mut is_read = true;
        if !table.is_empty() {
            let with_headers = self.widths.is_empty() && !picture.settings.no_headers;
            is_read = ui.further_rows(&table, with_headers, &mut self.widths);
        }
        self.say(picture, &rows, ui);
        is_read
    }

    fn say(&mut self, picture: &Picture<'_>, rows: &[Row<'_>], ui: &Ui) {
        let was_interrupted = std::mem::replace(&mut self.interrupted, picture.seen.interrupted.is_some());
        if !std::mem::replace(&mut self.has_begun, true) {
            picture.summary(rows).print(ui);
            remediations::tell(&picture.unfinished(), picture.settings, picture.now, ui);
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

fn condition<'n>(node: &'n ShownNode, (type_, number): &(String, usize)) -> Option<&'n Condition> {
    node.node.conditions.iter().filter(|condition| condition.type_ == *type_).nth(number - 1)
}
