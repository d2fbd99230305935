//! The token of an upgrade request.

use axum::http::{HeaderMap, header};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::batch::request::TokenHash;

/// The subprotocol that carries a token, for browsers: they cannot set the other header.
const TOKEN_SUBPROTOCOL: &str = "bearer.";

/// How tokens begin that end with a checksum.
const PREFIX: &str = "tnk_";

/// The characters of a checksum: 24 bits of the SHA-256 of the rest, in base64.
const CHECKSUM: usize = 4;

/// The token of `Authorization: Bearer <token>`, or else of an offered subprotocol `bearer.<token>`.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = authorization.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let offered = || subprotocols(headers).find_map(|protocol| protocol.strip_prefix(TOKEN_SUBPROTOCOL));
    bearer.or_else(offered).filter(|token| !token.is_empty())
}

/// The subprotocols that the request offers.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether this looks like a token that the extension made, and is not one: its checksum is wrong. No query is needed to refuse
/// it.
pub fn is_mistyped(token: &str) -> bool {
    let Some(split) = token.starts_with(PREFIX).then(|| token.len().checked_sub(CHECKSUM)).flatten() else {
        return false;
    };
    let Some((body, checksum)) = token.split_at_checked(split) else { return true };
    let digest = Sha256::digest(body);
    BASE64_URL_SAFE_NO_PAD.encode(&digest[..3]) != checksum
}

/// What the extension knows of a token.
pub fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_token_comes_in_either_header() {
        assert_eq!(token(&headers(&[(header::AUTHORIZATION, "Bearer abc")])), Some("abc"));
        assert_eq!(token(&headers(&[(header::AUTHORIZATION, "bearer  abc ")])), Some("abc"));
        let offered = headers(&[(header::SEC_WEBSOCKET_PROTOCOL, "tailnet.v1.json, bearer.xyz")]);
        assert_eq!(token(&offered), Some("xyz"));
        assert!(subprotocols(&offered).any(|protocol| protocol == "tailnet.v1.json"));
    }

    #[test]
    fn a_checksum_finds_mistyped_tokens() {
        let body = "tnk_PjdHGfUgR1K-95tQI6orJxusSgmtuks7pNymDVzJShM";
        let checksum = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(body)[..3]);
        assert!(!is_mistyped(&format!("{body}{checksum}")));
        let changed = format!("{}{checksum}", body.replace('9', "8"));
        for wrong in [&changed, body, "tnk_", "tnk_é", "tnk_abc"] {
            assert!(is_mistyped(wrong), "{wrong}");
        }
        // Only the extension knows whether these are good.
        for unknown in ["tnp_PjdHGfUgR1K", "5fe3cbd5-7d4a-4f6e-8a2c-3f2b7a1d9c0e", ""] {
            assert!(!is_mistyped(unknown), "{unknown}");
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        for wrong in ["Basic abc", "Bearer", "Bearer ", ""] {
            assert_eq!(token(&headers(&[(header::AUTHORIZATION, wrong)])), None, "{wrong:?}");
        }
        assert_eq!(token(&headers(&[(header::SEC_WEBSOCKET_PROTOCOL, "bearer.")])), None);
    }
}
