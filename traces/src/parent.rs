//! The headers of W3C Trace Context (level 1).
//!
//! The propagator of the SDK is not used, because it takes ids of any length. A header that cannot be read counts as absent:
//! the trace starts anew, and the request is served all the same.

use std::str::FromStr as _;

use http::{HeaderMap, HeaderName};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Names the span that a request belongs to.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What tracing systems add to it. It is passed on as it came.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The span that a request belongs to; None: it names none, or names it wrongly.
pub fn read(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
    let (trace_id, span_id, flags) = ids(parent.as_bytes())?;
    let states: Option<Vec<&str>> = headers.get_all(TRACESTATE).iter().map(|value| value.to_str().ok()).collect();
    // The parent counts even if the state cannot be read.
    let state = states.and_then(|states| TraceState::from_str(&states.join(",")).ok()).unwrap_or_default();
    let context = SpanContext::new(trace_id, span_id, flags, true, state);
    context.is_valid().then_some(context)
}

/// The `traceparent` that names a span.
pub fn write(context: &SpanContext) -> String {
    let flags = context.trace_flags() & TraceFlags::SAMPLED;
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags)
}

/// `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`; a later version may have more after that.
fn ids(text: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let dashes = [2, 35, 52].iter().all(|place| text.get(*place) == Some(&b'-'));
    let version = hex(text.get(..2)?)?;
    let length = match version {
        "00" => text.len() == 55,
        "ff" => false,
        _ => text.len() == 55 || text.get(55) == Some(&b'-'),
    };
    if !dashes || !length {
        return None;
    }
    let trace_id = TraceId::from_hex(hex(&text[3..35])?).ok()?;
    let span_id = SpanId::from_hex(hex(&text[36..52])?).ok()?;
    let flags = u8::from_str_radix(hex(&text[53..55])?, 16).ok()?;
    Some((trace_id, span_id, TraceFlags::new(flags) & TraceFlags::SAMPLED))
}

/// Lower case only, as the header must be.
fn hex(digits: &[u8]) -> Option<&str> {
    let good = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    std::str::from_utf8(digits).ok().filter(|_| good)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parse(parents: &[&str], states: &[&str]) -> Option<SpanContext> {
        let named = parents.iter().map(|parent| (TRACEPARENT, *parent));
        let named = named.chain(states.iter().map(|state| (TRACESTATE, *state)));
        let mut headers = HeaderMap::new();
        for (name, text) in named {
            headers.append(name, HeaderValue::from_str(text).expect("a header value"));
        }
        read(&headers)
    }

    #[test]
    fn a_good_parent_is_read_and_written_again() {
        let context = parse(&[GOOD], &["one=1,two=2", "three=3"]).expect("a good parent");
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(write(&context), GOOD);
        assert_eq!(context.trace_state().header(), "one=1,two=2,three=3");
        let unsampled = parse(&[&GOOD.replace("-01", "-00")], &[]).expect("a good parent");
        assert!(!unsampled.is_sampled());
        // Flags that nobody knows yet are not carried on, fields of later versions are passed over.
        assert_eq!(parse(&[&GOOD.replace("-01", "-ff")], &[]).as_ref().map(write).as_deref(), Some(GOOD));
        let later = GOOD.replacen("00-", "cc-", 1);
        assert_eq!(parse(&[&later], &[]).as_ref().map(write).as_deref(), Some(GOOD));
        assert_eq!(parse(&[&format!("{later}-what-comes")], &[]).as_ref().map(write).as_deref(), Some(GOOD));
    }

    #[test]
    fn a_bad_state_does_not_spoil_the_parent() {
        let context = parse(&[GOOD], &["no state"]).expect("a good parent");
        assert_eq!((write(&context).as_str(), context.trace_state().header().as_str()), (GOOD, ""));
    }

    #[test]
    fn a_bad_parent_is_none() {
        for bad in [
            "",
            "00",
            "00-1-1-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        ] {
            assert_eq!(parse(&[bad], &[]), None, "{bad:?}");
        }
        assert_eq!(parse(&[], &["one=1"]), None);
        assert_eq!(parse(&[GOOD, GOOD], &[]), None, "two parents");
    }
}
