//! The resume token of an upgrade request.
//!
//! A peer of a shared key that wants to come back as the same peer asks for a resume token, with an empty one, and later shows
//! the last that it got.

use axum::http::{HeaderMap, Uri};

/// The header. Browsers cannot set it, and use the parameter instead.
const HEADER: &str = "tailnet-resume";

/// The parameter of the query.
const PARAMETER: &str = "resume";

/// The resume token of the request. Empty: the peer has none and wants one; None: it wants none.
pub fn asked(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let header = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let parameter = || {
        uri.query()?.split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name == PARAMETER).then_some(value)
        })
    };
    header.or_else(parameter).map(|token| token.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(header: Option<&'static str>, uri: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(HEADER, HeaderValue::from_static(value));
        }
        asked(&headers, &uri.parse().expect("a URI"))
    }

    #[test]
    fn a_resume_token_comes_in_the_header_or_the_query() {
        assert_eq!(of(Some(" tnr_a "), "/v1/coordinate?resume=tnr_b").as_deref(), Some("tnr_a"));
        assert_eq!(of(None, "/v1/coordinate?x=1&resume=tnr_b").as_deref(), Some("tnr_b"));
        assert_eq!(of(None, "/v1/coordinate?resume").as_deref(), Some(""));
        assert_eq!(of(Some(""), "/v1/coordinate").as_deref(), Some(""));
        assert_eq!(of(None, "/v1/coordinate?resumed=1"), None);
    }
}
