//! The messages of the tailnet service and of the agent service, made from `proto/`.

/// The path of a method of the tailnet service.
macro_rules! tailnet {
    ($method:literal) => {
        concat!("/coder.tailnet.v2.Tailnet/", $method)
    };
}

/// The path of a method of the agent service.
macro_rules! agent {
    ($method:literal) => {
        concat!("/coder.agent.v2.Agent/", $method)
    };
}

/// The paths of the methods that are answered.
#[expect(missing_docs, reason = "their names are those of the services")]
pub mod path {
    pub const COORDINATE: &str = tailnet!("Coordinate");
    pub const STREAM_DERP_MAPS: &str = tailnet!("StreamDERPMaps");
    pub const REFRESH_RESUME_TOKEN: &str = tailnet!("RefreshResumeToken");
    pub const POST_TELEMETRY: &str = tailnet!("PostTelemetry");
    pub const GET_MANIFEST: &str = agent!("GetManifest");
    pub const UPDATE_STARTUP: &str = agent!("UpdateStartup");
    pub const UPDATE_LIFECYCLE: &str = agent!("UpdateLifecycle");
    pub const GET_ANNOUNCEMENT_BANNERS: &str = agent!("GetAnnouncementBanners");
    pub const GET_RESOURCES_MONITORING_CONFIGURATION: &str = agent!("GetResourcesMonitoringConfiguration");
    pub const UPDATE_STATS: &str = agent!("UpdateStats");
    pub const BATCH_CREATE_LOGS: &str = agent!("BatchCreateLogs");
    pub const BATCH_UPDATE_METADATA: &str = agent!("BatchUpdateMetadata");
    pub const BATCH_UPDATE_APP_HEALTHS: &str = agent!("BatchUpdateAppHealths");
    pub const SCRIPT_COMPLETED: &str = agent!("ScriptCompleted");
    pub const PUSH_RESOURCES_MONITORING_USAGE: &str = agent!("PushResourcesMonitoringUsage");
    pub const REPORT_CONNECTION: &str = agent!("ReportConnection");
}

#[allow(missing_docs, clippy::all, reason = "prost-build writes it; what it triggers depends on its version")]
mod generated {
    pub mod coder {
        pub mod tailnet {
            pub mod v2 {
                include!(concat!(env!("OUT_DIR"), "/services/coder.tailnet.v2.rs"));
            }
        }
        pub mod agent {
            pub mod v2 {
                include!(concat!(env!("OUT_DIR"), "/services/coder.agent.v2.rs"));
            }
        }
    }
}

pub use generated::coder::{agent::v2 as agent, tailnet::v2 as tailnet};
