use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, RETRY_AFTER, WARNING};

use super::{Reply, Request, lock};

/// Which requests are meant: method and path exactly, or `*` as the method and `*` at the end of the path for anything.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    method: String,
    path: String,
    query: Option<String>,
}

impl Target {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), query: None }
    }

    pub(crate) fn matches(&self, request: &Request) -> bool {
        let path = match self.path.strip_suffix('*') {
            Some(prefix) => request.path.starts_with(prefix),
            None => request.path == self.path,
        };
        path && (self.method == "*" || self.method == request.method)
            && self.query.as_ref().is_none_or(|query| request.query.contains(query))
    }
}

/// What goes wrong on request. Of several faults that match a request, the one set up first happens.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Rule>>>);

/// One fault. It is in force from `on` on, for ever or as often as [`times`](Self::times) says; its effects may be
/// combined (`.delay(…).status(503)`).
#[derive(Debug)]
pub struct Fault {
    faults: Faults,
    index: usize,
}

#[derive(Debug)]
struct Rule {
    target: Target,
    skip: u32,
    left: u32,
    hits: u32,
    effect: Effect,
}

/// What happens to one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Effect {
    pub(super) delay: Option<Duration>,
    pub(super) late: Option<Duration>,
    pub(super) drop: bool,
    pub(super) forbid: bool,
    pub(super) status: Option<u16>,
    pub(super) message: Option<String>,
    body: Option<(String, Bytes)>,
    huge: Option<usize>,
    lines: Option<(Bytes, usize)>,
    stalls: bool,
    truncate: Option<usize>,
    headers: Vec<(HeaderName, String)>,
}

impl Faults {
    /// A fault of the requests with this method (`*`: any) and this path (`*` at its end: and whatever follows).
    pub fn on(&self, method: &str, path: &str) -> Fault {
        let mut rules = lock(&self.0);
        rules.push(Rule {
            target: Target::new(method, path),
            skip: 0,
            left: u32::MAX,
            hits: 0,
            effect: Effect::default(),
        });
        Fault { faults: self.clone(), index: rules.len() - 1 }
    }

    /// No more faults.
    pub fn clear(&self) {
        for rule in lock(&self.0).iter_mut() {
            rule.left = 0;
        }
    }

    /// The effect on this request, which is thereby used up.
    pub(super) fn take(&self, request: &Request) -> Option<Effect> {
        for rule in lock(&self.0).iter_mut().filter(|rule| rule.left > 0 && rule.target.matches(request)) {
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.left -= u32::from(rule.left != u32::MAX);
            rule.hits += 1;
            return Some(rule.effect.clone());
        }
        None
    }
}

#[expect(clippy::return_self_not_must_use, reason = "a fault is in force whether or not somebody holds it")]
impl Fault {
    /// Only requests whose query has this in it, as sent.
    pub fn query(self, part: &str) -> Self {
        self.change(|rule| rule.target.query = Some(part.to_owned()))
    }

    /// Only so many requests.
    pub fn times(self, times: u32) -> Self {
        self.change(|rule| rule.left = times)
    }

    /// Not the first so many requests.
    pub fn after(self, requests: u32) -> Self {
        self.change(|rule| rule.skip = requests)
    }

    /// The answer comes late.
    pub fn delay(self, delay: Duration) -> Self {
        self.change(|rule| rule.effect.delay = Some(delay))
    }

    /// It is done at once, and the answer comes late.
    pub fn answers_after(self, delay: Duration) -> Self {
        self.change(|rule| rule.effect.late = Some(delay))
    }

    /// Nothing is done and the answer has this status: of an API server with a `Status` for its body.
    pub fn status(self, code: u16) -> Self {
        self.change(|rule| rule.effect.status = Some(code))
    }

    /// What the error says.
    pub fn message(self, message: &str) -> Self {
        self.change(|rule| rule.effect.message = Some(message.to_owned()))
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, &seconds.to_string())
    }

    /// Nothing is done and the answer is 403, with the server's own words.
    pub fn forbid(self) -> Self {
        self.change(|rule| rule.effect.forbid = true)
    }

    /// Nothing is done and the connection is closed without an answer.
    pub fn drop_connection(self) -> Self {
        self.change(|rule| rule.effect.drop = true)
    }

    /// It is done, but the connection is closed after so many bytes of the body.
    pub fn truncate(self, bytes: usize) -> Self {
        self.change(|rule| rule.effect.truncate = Some(bytes))
    }

    /// Nothing is done and the answer is this, with 200 or what `status` says.
    pub fn body(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.change(|rule| rule.effect.body = Some((content_type.to_owned(), body)))
    }

    /// Nothing is done and the answer is so many MiB of white space, called JSON.
    pub fn huge(self, mebibytes: usize) -> Self {
        self.change(|rule| rule.effect.huge = Some(mebibytes))
    }

    /// Nothing is done and the answer is this line over and over, so many MiB of it, made while it is sent.
    pub fn lines(self, line: &str, mebibytes: usize) -> Self {
        let line = Bytes::from(format!("{line}\n"));
        self.change(|rule| rule.effect.lines = Some((line, mebibytes)))
    }

    /// The answer does not end: after what there is comes nothing more.
    pub fn stalls(self) -> Self {
        self.change(|rule| rule.effect.stalls = true)
    }

    /// It is done, and a warning comes with the answer, as kubectl shows them.
    pub fn warning(self, text: &str) -> Self {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        self.header(WARNING, &format!("299 - \"{quoted}\""))
    }

    /// A header more in the answer.
    pub fn header(self, name: HeaderName, value: &str) -> Self {
        self.change(|rule| rule.effect.headers.push((name, value.to_owned())))
    }

    /// How many requests it has met.
    pub fn hits(&self) -> u32 {
        lock(&self.faults.0).get(self.index).map_or(0, |rule| rule.hits)
    }

    /// No more of this one.
    pub fn stop(&self) {
        if let Some(rule) = lock(&self.faults.0).get_mut(self.index) {
            rule.left = 0;
        }
    }

    fn change(self, change: impl FnOnce(&mut Rule)) -> Self {
        if let Some(rule) = lock(&self.faults.0).get_mut(self.index) {
            change(rule);
        }
        self
    }
}

impl Effect {
    /// The answer in place of the server's own, if this effect has one.
    pub(super) fn answer(&self) -> Option<Reply> {
        let status = self.status.unwrap_or(200);
        if let Some(mebibytes) = self.huge {
            return Some(Reply::huge(status, mebibytes));
        }
        if let Some((line, mebibytes)) = &self.lines {
            return Some(Reply::lines(status, line, *mebibytes));
        }
        let (content_type, body) = self.body.as_ref()?;
        Some(Reply::bytes(status, content_type, body.clone()))
    }

    /// What it does to an answer, whoever made it.
    pub(super) fn finish(&self, reply: Reply) -> Reply {
        let reply = self.headers.iter().fold(reply, |reply, (name, value)| reply.with(name.clone(), value));
        match self.truncate {
            Some(bytes) => reply.truncated(bytes),
            None if self.stalls => reply.stalled(),
            None => reply,
        }
    }
}
