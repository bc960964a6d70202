//! Which path does what, and what each request has to pass first.

use crate::api::error::{ApiError, ApiResult, json_response};
use crate::api::{chat, completions, embeddings, predict};
use crate::app::App;
use crate::options::SLOW_BODY;
use crate::page;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::body::Body as _;
use serde_json::json;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes of a body that is too large that are read nevertheless, and for how long.
const DRAINED: usize = 64 << 20;
/// As above.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every path.
pub(crate) fn router(app: Arc<App>) -> Router {
    let no_path = || async {
        ApiError::new(StatusCode::NOT_FOUND, "there is nothing at this path").code("not_found")
    };
    let no_method = || async {
        let message = "this path takes another method";
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
    };
    Router::new()
        .route("/", get(page::page))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/completions", post(text_completions))
        .route("/v1/embeddings", post(text_embeddings))
        .route("/predict", post(predictions))
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// What every request passes.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = path_name(request.uri().path());
    let origin = app.origin(request.headers());
    let is_open = matches!(path, "/" | "/health");
    let mut response = if !app.is_at_home(request.headers()) {
        let message = "this server answers requests to localhost only";
        ApiError::new(StatusCode::FORBIDDEN, message).into_response()
    } else if request.method() == Method::OPTIONS && origin.is_some() {
        StatusCode::NO_CONTENT.into_response()
    } else if !is_open && !app.has_key(request.headers()) {
        let message = "the API key is missing or wrong; send it as \"Authorization: Bearer KEY\"";
        let error = ApiError::new(StatusCode::UNAUTHORIZED, message);
        error.code("invalid_api_key").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let all = HeaderValue::from_static("authorization, content-type");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, all);
        let all = HeaderValue::from_static("GET, POST");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, all);
    }
    let sniff = HeaderName::from_static("x-content-type-options");
    headers.insert(sniff, HeaderValue::from_static("nosniff"));
    app.metrics.answered(path, response.status().as_u16());
    response
}

/// The path as it is counted: a stranger's paths are one.
fn path_name(path: &str) -> &'static str {
    const KNOWN: [&str; 8] = [
        "/",
        "/health",
        "/metrics",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/predict",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == path)
        .unwrap_or("other")
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let (status, word) = match app.is_ending.load(Ordering::Relaxed) {
        false => (StatusCode::OK, "ok"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
    };
    json_response(status, &json!({ "status": word }))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut response = Response::new(Body::from(app.metrics.text()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn models(State(app): State<Arc<App>>) -> Response {
    let value = json!({ "object": "list", "data": [app.model()] });
    json_response(StatusCode::OK, &value)
}

async fn model(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    if name == app.options.name {
        return json_response(StatusCode::OK, &app.model());
    }
    let message = format!(
        "there is no model {name:?}; this server has {:?}",
        app.options.name
    );
    let error = ApiError::new(StatusCode::NOT_FOUND, message);
    error.code("model_not_found").into_response()
}

async fn chat_completions(State(app): State<Arc<App>>, request: Request) -> ApiResult<Response> {
    let body = json_body(&app, request).await?;
    chat::chat(&app, &body).await
}

async fn text_completions(State(app): State<Arc<App>>, request: Request) -> ApiResult<Response> {
    let body = json_body(&app, request).await?;
    completions::completions(&app, &body).await
}

async fn text_embeddings(State(app): State<Arc<App>>, request: Request) -> ApiResult<Response> {
    let body = json_body(&app, request).await?;
    embeddings::embeddings(&app, &body).await
}

async fn predictions(State(app): State<Arc<App>>, request: Request) -> ApiResult<Response> {
    let kind = content_type(request.headers());
    let body = whole_body(&app, request).await?;
    predict::predict(&app, &kind, body).await
}

/// What a body is said to be, without its parameters.
fn content_type(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// A body of JSON. It has to say that it is: a page of a stranger can send anything else without being asked.
async fn json_body(app: &App, request: Request) -> ApiResult<Vec<u8>> {
    if content_type(request.headers()) != "application/json" {
        let message = "the body must be JSON; say so with \"Content-Type: application/json\"";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    whole_body(app, request).await
}

async fn whole_body(app: &App, request: Request) -> ApiResult<Vec<u8>> {
    let limit = app.options.max_body;
    let too_large = || {
        let message =
            format!("the body is larger than {limit} bytes, which is this server's limit");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        // A client that is still sending would find the connection broken, and not read why.
        let _ = tokio::time::timeout(PATIENCE, drain(request.into_body())).await;
        return Err(too_large());
    }
    match tokio::time::timeout(SLOW_BODY, to_bytes(request.into_body(), limit)).await {
        Ok(Ok(body)) => Ok(body.to_vec()),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let message = format!("the body did not come within {} s", SLOW_BODY.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

/// Reads some of what is not wanted.
async fn drain(mut body: Body) {
    let mut left = DRAINED;
    while left > 0
        && let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
    {
        left = left.saturating_sub(frame.data_ref().map_or(1, |data| data.len()));
    }
}
