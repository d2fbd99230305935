//! Answers in plain text.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};

/// Seconds after which a refused peer may try again.
pub const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// No sessions are taken now.
pub fn unavailable(reason: &'static str) -> Response<Body> {
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"), Some((header::RETRY_AFTER, RETRY_AFTER)))
}

/// The token is not good.
pub fn unauthorized(text: &'static str) -> Response<Body> {
    plain(StatusCode::UNAUTHORIZED, text, Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))))
}

/// A text, with a header.
pub fn plain(status: StatusCode, text: impl Into<Body>, extra: Option<(HeaderName, HeaderValue)>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().extend(extra);
    response
}
