//! The settings of an operator. All have the prefix `tailnet`.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// 8,192 partners with nodes of 1 KiB are 8 MiB of payloads, which take some hundred milliseconds under the lock.
static VIEW_PARTNERS: GucSetting<i32> = GucSetting::<i32>::new(8_192);

/// A day, so that a laptop that was closed overnight still has its tunnels.
static LOST_PEER_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(24 * 60 * 60);

/// Makes the settings known to Postgres. Called when the library is loaded.
pub fn define() {
    GucRegistry::define_int_guc(
        c"tailnet.view_partners",
        c"The most tunnel partners that one call sends in views.",
        c"A larger view is sent in pages. A call holds the locks of its networks until it ends.",
        &VIEW_PARTNERS,
        1,
        65_536,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"tailnet.lost_peer_retention",
        c"How long a lost peer and the tunnels that it opened are kept.",
        c"Then they are removed, and the peer's partners see DISCONNECTED.",
        &LOST_PEER_RETENTION,
        60,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
}

/// The most tunnel partners that one call sends in views. The sessions of the call share them.
pub fn view_partners() -> usize {
    usize::try_from(VIEW_PARTNERS.get()).expect("Postgres keeps the setting positive")
}

/// How long a lost peer is kept, in seconds.
pub fn lost_peer_retention() -> f64 {
    f64::from(LOST_PEER_RETENTION.get())
}
