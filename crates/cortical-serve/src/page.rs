//! The page at `/`.

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

/// All of it, with its style and its script.
const PAGE: &str = include_str!("page.html");

/// Answers with it. Nothing of it comes from elsewhere, and the browser is told so.
pub(crate) async fn page() -> Response {
    let mut response = Html(PAGE).into_response();
    let headers = response.headers_mut();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let policy = HeaderValue::from_static(policy);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let none = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, none);
    response
}

#[cfg(test)]
mod tests {
    use super::PAGE;

    #[test]
    fn nothing_of_the_page_comes_from_elsewhere() {
        for mark in ["http://", "https://", "//cdn", "@import", " src=", "url("] {
            assert!(!PAGE.contains(mark), "{mark}");
        }
    }
}
