use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;

/// The connection ends here, in the middle of whatever it was.
#[derive(Debug)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on request")
    }
}

impl std::error::Error for Cut {}

pub(crate) type Body = UnsyncBoxBody<Bytes, Cut>;

/// What goes on over a connection that has changed its protocol.
pub(crate) type Upgrade = Box<dyn FnOnce(TokioIo<Upgraded>) -> BoxFuture<'static, ()> + Send>;

/// An answer before it is on its way.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content: Content,
    pub(crate) upgrade: Option<Upgrade>,
    /// It is sent this much later.
    pub(crate) late: Duration,
}

pub(crate) enum Content {
    Bytes(Bytes),
    Stream(BoxStream<'static, Result<Bytes, Cut>>),
}

impl Reply {
    pub(crate) fn bytes(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content: Content::Bytes(body.into()),
            upgrade: None,
            late: Duration::ZERO,
        }
        .with(CONTENT_TYPE, content_type)
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self::bytes(status, "text/plain; charset=utf-8", text.into())
    }

    pub(crate) fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::bytes(status, "application/json", body),
            Err(error) => Self::text(500, error.to_string()),
        }
    }

    pub(crate) fn stream(content: BoxStream<'static, Result<Bytes, Cut>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            content: Content::Stream(content),
            upgrade: None,
            late: Duration::ZERO,
        }
        .with(CONTENT_TYPE, "application/json")
    }

    /// As many MiB of JSON white space, made while they are sent: a reader goes on until it has had enough.
    pub(crate) fn huge(status: u16, mebibytes: usize) -> Self {
        const CHUNK: &[u8] = &[b' '; 64 << 10];
        let chunks = stream::iter(0..mebibytes * 16).map(|_| Ok(Bytes::from_static(CHUNK)));
        Self { status, ..Self::stream(chunks.boxed()) }
    }

    /// This line over and over, so many MiB of it as plain text.
    pub(crate) fn lines(status: u16, line: &Bytes, mebibytes: usize) -> Self {
        const CHUNK: usize = 64 << 10;
        let chunk = Bytes::from(line.repeat(CHUNK / line.len().max(1) + 1));
        let chunks = stream::iter(0..mebibytes * 16).map(move |_| Ok(chunk.clone()));
        let content = Content::Stream(chunks.boxed());
        Self { status, headers: Vec::new(), content, upgrade: None, late: Duration::ZERO }
            .with(CONTENT_TYPE, "text/plain; charset=utf-8")
    }

    /// After the body comes nothing more, and no end.
    pub(crate) fn stalled(mut self) -> Self {
        let body = match self.content {
            Content::Bytes(body) => stream::iter([Ok(body)]).boxed(),
            Content::Stream(stream) => stream,
        };
        self.content = Content::Stream(body.chain(stream::pending()).boxed());
        self
    }

    /// 101: the connection is handed over.
    pub(crate) fn upgrade(upgrade: Upgrade) -> Self {
        let content = Content::Bytes(Bytes::new());
        Self { status: 101, headers: Vec::new(), content, upgrade: Some(upgrade), late: Duration::ZERO }
    }

    pub(crate) fn late(self, late: Duration) -> Self {
        Self { late, ..self }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Of the body only the first `bytes`; then the connection is closed. The headers still promise all of it.
    pub(crate) fn truncated(mut self, bytes: usize) -> Self {
        self.content = Content::Stream(match self.content {
            Content::Bytes(body) => {
                self.headers.push((CONTENT_LENGTH, body.len().into()));
                let kept = body.slice(..bytes.min(body.len()));
                stream::iter([Ok(kept)]).chain(cut()).boxed()
            }
            Content::Stream(stream) => {
                let kept = stream::unfold((stream, bytes), |(mut stream, left)| async move {
                    let mut chunk = if left == 0 { return None } else { stream.next().await?.ok()? };
                    chunk.truncate(left);
                    let left = left - chunk.len();
                    Some((Ok(chunk), (stream, left)))
                });
                kept.chain(cut()).boxed()
            }
        });
        self
    }

    pub(crate) fn into_response(self) -> http::Response<Body> {
        let body = match self.content {
            Content::Bytes(body) => Full::new(body).map_err(|never| match never {}).boxed_unsync(),
            Content::Stream(stream) => {
                StreamBody::new(stream.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
            }
        };
        let mut response = http::Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// Ends the connection, but only when what went before had the time to leave: hyper drops what it has not flushed.
fn cut() -> BoxStream<'static, Result<Bytes, Cut>> {
    stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(Cut)
    })
    .boxed()
}
