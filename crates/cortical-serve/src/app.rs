//! What all requests share.

use crate::api::error::{ApiError, ApiResult};
use crate::api::fields::Fields;
use crate::engine::Job;
use crate::metrics::Metrics;
use crate::options::Options;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use cortical_models::language::LanguageModel;
use cortical_text::{ChatTemplate, Tokenizer};
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A language model with what belongs to it.
#[derive(Debug)]
pub struct Language {
    /// The model.
    pub model: LanguageModel,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its template for conversations, where it has one.
    pub template: Option<ChatTemplate>,
}

/// Predicts from a body of this content type; an error says what is wrong with the body.
pub type Classifier = Arc<dyn Fn(&str, &[u8]) -> Result<Value, String> + Send + Sync>;

/// What is served.
pub enum Subject {
    /// Text that goes on, or embeddings of texts.
    Language(Box<Language>),
    /// Predictions.
    Classifier(Classifier),
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Language(language) => language.fmt(f),
            Self::Classifier(_) => f.write_str("Classifier"),
        }
    }
}

/// As the module says.
pub(crate) struct App {
    pub(crate) options: Options,
    pub(crate) subject: Subject,
    pub(crate) metrics: Metrics,
    /// Threads that compute.
    pub(crate) pool: rayon::ThreadPool,
    /// The way to the thread that writes texts; nothing ends it.
    pub(crate) jobs: Sender<Option<Job>>,
    /// Places of texts that are written or wait.
    pub(crate) places: Arc<Semaphore>,
    /// Whether the server is about to end.
    pub(crate) is_ending: AtomicBool,
    /// Numbers that answers and seeds are made of.
    pub(crate) next: AtomicU64,
}

impl App {
    /// The language model; an error for a server of something else.
    pub(crate) fn language(&self) -> ApiResult<&Language> {
        match &self.subject {
            Subject::Language(language) => Ok(language),
            Subject::Classifier(_) => Err(ApiError::not_here(
                "this is a classifier; ask it at /predict",
            )),
        }
    }

    /// A place for a text, or that all are taken.
    pub(crate) fn place(&self) -> ApiResult<OwnedSemaphorePermit> {
        let place = self.places.clone().try_acquire_owned();
        place.map_err(|_| {
            let message = "all places are taken and the queue is full; try again in a moment";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).code("queue_full")
        })
    }

    /// Computes beside the thread that speaks to clients.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> ApiResult<T> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| ApiError::failed("the computation broke off"))
    }

    /// A name of an answer that no other one has.
    pub(crate) fn fresh_id(&self, kind: &str) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{kind}-{:x}-{number:x}", self.now())
    }

    /// A seed for a request that names none: another one each time.
    pub(crate) fn fresh_seed(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = since.map_or(0, |since| since.as_nanos() as u64);
        nanos ^ self.next.fetch_add(1, Ordering::Relaxed).rotate_left(40)
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    /// That a request is for this server's model, where it names one.
    pub(crate) fn check_model(&self, fields: &mut Fields) -> ApiResult<()> {
        let own = self.options.name.as_str();
        match fields.take("model").filter(|found| *found != own) {
            None => Ok(()),
            Some(found) => {
                let message = format!("there is no model {found}; this server has {own:?}");
                let error = ApiError::new(StatusCode::NOT_FOUND, message).code("model_not_found");
                Err(ApiError {
                    param: Some("model".to_owned()),
                    ..error
                })
            }
        }
    }

    /// The model as `/v1/models` lists it.
    pub(crate) fn model(&self) -> Value {
        let (kind, chats) = match &self.subject {
            Subject::Classifier(_) => ("classifier", false),
            Subject::Language(language) if language.model.has_head() => {
                ("language", language.template.is_some())
            }
            Subject::Language(_) => ("encoder", false),
        };
        json!({
            "id": self.options.name,
            "object": "model",
            "created": 0,
            "owned_by": "cortical",
            "kind": kind,
            "chat": chats,
            "context": self.options.context,
            "max_tokens": self.options.max_tokens,
        })
    }

    /// Whether a request names this machine, where it has to.
    pub(crate) fn is_at_home(&self, headers: &HeaderMap) -> bool {
        if !self.options.local_only {
            return true;
        }
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let Some(host) = host else {
            return true;
        };
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        name.eq_ignore_ascii_case("localhost") || name == "::1" || name.starts_with("127.")
    }

    /// Whether a request has the key, where there is one.
    pub(crate) fn has_key(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.options.api_key else {
            return true;
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .unwrap_or_default();
        // As long for a wrong key as for one that is nearly right.
        let differs = given.iter().zip(key.as_bytes());
        let differs = differs.fold(0, |all, (a, b)| all | (a ^ b));
        given.len() == key.len() && differs == 0
    }

    /// The origin that a page may use the server from, as the browser is told it.
    pub(crate) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?;
        let allowed = &self.options.cors;
        let fits = allowed.iter().any(|own| own == "*" || own == text);
        fits.then(|| origin.clone())
    }
}
