//! Answers of texts: whole, or piece by piece as server-sent events.

use super::error::{ApiError, ApiResult, json_response};
use super::submit::Submitted;
use crate::engine::{Event, Finish, TokenText, What};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::UnboundedReceiver;

/// What was used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) prompt: usize,
    pub(crate) known: usize,
    pub(crate) written: usize,
}

impl Usage {
    pub(crate) fn value(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.written,
            "total_tokens": self.prompt + self.written,
            "prompt_tokens_details": { "cached_tokens": self.known },
        })
    }
}

/// A text that is done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) tokens: Vec<TokenText>,
    pub(crate) finish: Option<Finish>,
}

/// Waits for all texts of a request.
pub(crate) async fn whole(mut submitted: Submitted) -> ApiResult<(Vec<Text>, Usage)> {
    let mut texts = vec![Text::default(); submitted.choices];
    let mut usage = Usage {
        prompt: submitted.prompt_tokens,
        ..Usage::default()
    };
    let mut left = submitted.choices;
    while left > 0 {
        let Some(Event { choice, what }) = submitted.events.recv().await else {
            return Err(ApiError::failed("the model's thread has ended"));
        };
        match what {
            What::Begun { known } => usage.known += known,
            What::Text { piece, tokens } => {
                usage.written += tokens.len();
                texts[choice].text += &piece;
                texts[choice].tokens.extend(tokens);
            }
            What::End { finish } => {
                texts[choice].finish = Some(finish);
                left -= 1;
            }
            What::Failed { why } => return Err(ApiError::failed(why)),
        }
    }
    Ok((texts, usage))
}

/// What makes chunks of the events of one kind of request.
pub(crate) trait Chunks: Send + Unpin + 'static {
    /// The chunks that an event makes.
    fn chunks(&mut self, event: Event, out: &mut Vec<Value>);

    /// A last chunk with what was used.
    fn usage(&self, usage: Usage) -> Value;
}

/// A stream of server-sent events. Dropping it, as happens when the client goes away, closes the channel, and the
/// texts leave the batch.
pub(crate) struct Events<C> {
    events: UnboundedReceiver<Event>,
    chunks: C,
    left: usize,
    usage: Usage,
    tells_usage: bool,
    ready: VecDeque<Bytes>,
    is_over: bool,
}

/// Answers with the events of `chunks`.
pub(crate) fn stream<C: Chunks>(submitted: Submitted, chunks: C, tells_usage: bool) -> Response {
    let body = Events {
        events: submitted.events,
        chunks,
        left: submitted.choices,
        usage: Usage {
            prompt: submitted.prompt_tokens,
            ..Usage::default()
        },
        tells_usage,
        ready: VecDeque::new(),
        is_over: false,
    };
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    let fresh = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, fresh);
    response
}

/// Answers with an object.
pub(crate) fn object(value: &Value) -> Response {
    json_response(StatusCode::OK, value)
}

impl<C: Chunks> Events<C> {
    fn push(&mut self, value: &Value) {
        self.ready
            .push_back(Bytes::from(format!("data: {value}\n\n")));
    }

    fn end(&mut self) {
        self.is_over = true;
        self.ready
            .push_back(Bytes::from_static(b"data: [DONE]\n\n"));
    }

    fn take(&mut self, event: Event) {
        match &event.what {
            What::Begun { known } => self.usage.known += known,
            What::Text { tokens, .. } => self.usage.written += tokens.len(),
            What::End { .. } => self.left -= 1,
            What::Failed { why } => {
                // The head of the answer has gone out: the error is an event.
                self.push(&ApiError::failed(why.clone()).value());
                self.end();
                return;
            }
        }
        let mut chunks = Vec::new();
        self.chunks.chunks(event, &mut chunks);
        for chunk in chunks {
            self.push(&chunk);
        }
        if self.left == 0 {
            if self.tells_usage {
                let usage = self.chunks.usage(self.usage);
                self.push(&usage);
            }
            self.end();
        }
    }
}

impl<C: Chunks> hyper::body::Body for Events<C> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            match self.events.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(event)) => self.take(event),
                Poll::Ready(None) => {
                    let error = ApiError::failed("the model's thread has ended");
                    self.push(&error.value());
                    self.end();
                }
            }
        }
    }
}
