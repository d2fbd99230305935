//! Where a collector is.

use std::{fmt, str::FromStr};

use http::Uri;

/// What OTLP over HTTP appends to the base URL, for traces.
const PATH: &str = "/v1/traces";

/// The URL that spans are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// Why a text is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// No URL, or one without a host.
    #[error("expected the base URL of an OTLP collector, such as http://127.0.0.1:4318")]
    Url,
    /// Something else than plain HTTP.
    #[error("expected http://, not {0}://: there is no TLS and no gRPC to the collector")]
    Scheme(String),
    /// A URL with a user or a password.
    #[error("expected a URL without user and password: OTEL_EXPORTER_OTLP_HEADERS carries credentials")]
    Credentials,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads the base URL, as OTEL_EXPORTER_OTLP_ENDPOINT has it.
    fn from_str(base: &str) -> Result<Self, EndpointError> {
        let uri: Uri = base.parse().map_err(|_| EndpointError::Url)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(EndpointError::Url);
        };
        if scheme != "http" {
            return Err(EndpointError::Scheme(scheme.to_owned()));
        }
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        let url = format!("http://{authority}{}{PATH}", uri.path().trim_end_matches('/'));
        Ok(Self(url.parse().map_err(|_| EndpointError::Url)?))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_appended_to_the_base() {
        for (base, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("http://[::1]:1/otlp/", "http://[::1]:1/otlp/v1/traces"),
        ] {
            assert_eq!(base.parse::<Endpoint>().expect(base).to_string(), url);
        }
    }

    #[test]
    fn what_is_no_endpoint_says_what_was_expected() {
        for (bad, expected) in [
            ("collector:4318", "such as http://127.0.0.1:4318"),
            ("/v1/traces", "such as http://127.0.0.1:4318"),
            ("https://collector:4318", "not https://"),
            ("http://me:secret@collector:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
        ] {
            let error = bad.parse::<Endpoint>().expect_err(bad).to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
    }
}
