//! The token of a request of a v2 program.

use axum::http::{HeaderMap, header};

use crate::edge::token;

/// The header that most programs use.
const HEADER: &str = "coder-session-token";

/// The cookie that older agents use.
const COOKIE: &str = "coder_session_token";

/// The token of the header, of `Authorization: Bearer`, or of the cookie.
///
/// A browser sends the cookie of a user along with requests that another site makes, so the cookie of a request that names its
/// origin is not used.
pub fn of(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(|token| !token.is_empty());
    header.or_else(|| token::token(headers)).or_else(|| cookie(headers))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    if headers.contains_key(header::ORIGIN) {
        return None;
    }
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, token)| token.trim_matches('"')).find(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn found(pairs: &[(&'static str, &'static str)]) -> Option<String> {
        let headers =
            pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        of(&headers.collect()).map(str::to_owned)
    }

    #[test]
    fn a_token_comes_in_a_header_or_a_cookie() {
        assert_eq!(found(&[("coder-session-token", "a"), ("authorization", "Bearer b")]).as_deref(), Some("a"));
        assert_eq!(found(&[("authorization", "Bearer b"), ("cookie", "coder_session_token=c")]).as_deref(), Some("b"));
        assert_eq!(found(&[("cookie", "x=1; coder_session_token=c; y=2")]).as_deref(), Some("c"));
        for none in ["coder_session_token=", "session_token=c", ""] {
            assert_eq!(found(&[("cookie", none)]), None, "{none}");
        }
    }

    #[test]
    fn another_site_cannot_use_the_cookie_of_a_user() {
        assert_eq!(found(&[("cookie", "coder_session_token=c"), ("origin", "https://evil.example")]), None);
        assert_eq!(found(&[("coder-session-token", "a"), ("origin", "https://x")]).as_deref(), Some("a"));
    }
}
