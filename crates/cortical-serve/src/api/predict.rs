//! `POST /predict`

use super::answer::object;
use super::error::{ApiError, ApiResult};
use crate::app::{App, Subject};
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;

/// Answers it with what the classifier makes of the body.
pub(crate) async fn predict(app: &Arc<App>, kind: &str, body: Vec<u8>) -> ApiResult<Response> {
    let Subject::Classifier(classifier) = &app.subject else {
        let message = "this is a language model; ask it at /v1/completions";
        return Err(ApiError::not_here(message));
    };
    let _place = app.place()?;
    let (own, classifier, kind) = (app.clone(), classifier.clone(), kind.to_owned());
    let found = app
        .compute(move || own.pool.install(|| classifier(&kind, &body)))
        .await?;
    match found {
        Ok(value) => Ok(object(&value)),
        Err(why) => Err(ApiError::new(StatusCode::BAD_REQUEST, why)),
    }
}
