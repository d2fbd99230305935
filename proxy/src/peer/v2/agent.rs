//! The calls of an agent: what its program needs in order to run with nothing but a URL and a token.

use std::net::IpAddr;

use prost::Message;
use prost_types::{Duration, Timestamp};
use tailnet_v2::{
    messages::{
        agent::{
            BatchCreateLogsResponse, Connection, GetAnnouncementBannersResponse,
            GetResourcesMonitoringConfigurationResponse, Lifecycle, Manifest, ReportConnectionRequest, Stats,
            UpdateLifecycleRequest, UpdateStartupRequest, UpdateStatsRequest, UpdateStatsResponse, connection,
            get_resources_monitoring_configuration_response::Config, lifecycle,
        },
        path, tailnet,
    },
    node::SECONDS,
};
use tailnet_wire::{ConnectionEvent, ConnectionType};
use uuid::Uuid;

use crate::{
    batch::request::{AgentInfo, AgentState, agent_state},
    message::Report,
    observe::telemetry::Traffic,
};

/// How often an agent sends its statistics. The first call, which is empty, asks for it.
const STATS_INTERVAL: Duration = Duration { seconds: 5 * 60, nanos: 0 };

/// Zero would make an agent fail. What it then sends is thrown away.
const MONITORING: Config = Config { num_datapoints: 20, collection_interval_seconds: 10 };

/// The most characters of a version or a directory that are kept.
const MAX_TEXT: usize = 4096;

/// What an agent told with a call that is answered at once.
#[derive(Debug)]
pub enum Told {
    /// Its version or its lifecycle: to be written.
    State(AgentState),
    /// What went through its tunnels since it last told.
    Traffic(Traffic),
}

/// What an agent may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// What it is and does.
    GetManifest,
    /// It tells its version.
    UpdateStartup,
    /// It tells its state.
    UpdateLifecycle,
    /// There are no banners.
    GetAnnouncementBanners,
    /// How often it looks at its resources.
    GetResourcesMonitoringConfiguration,
    /// Its traffic.
    UpdateStats,
    /// Logs, which it is told to keep.
    BatchCreateLogs,
    /// What is taken and thrown away.
    Ignored,
    /// Somebody connected to it, or went. Answered when that is durable.
    ReportConnection,
}

impl Method {
    /// The method with this path.
    pub fn of(path: &str) -> Option<Self> {
        Some(match path {
            path::GET_MANIFEST => Self::GetManifest,
            path::UPDATE_STARTUP => Self::UpdateStartup,
            path::UPDATE_LIFECYCLE => Self::UpdateLifecycle,
            path::GET_ANNOUNCEMENT_BANNERS => Self::GetAnnouncementBanners,
            path::GET_RESOURCES_MONITORING_CONFIGURATION => Self::GetResourcesMonitoringConfiguration,
            path::UPDATE_STATS => Self::UpdateStats,
            path::BATCH_CREATE_LOGS => Self::BatchCreateLogs,
            path::BATCH_UPDATE_METADATA
            | path::BATCH_UPDATE_APP_HEALTHS
            | path::SCRIPT_COMPLETED
            | path::PUSH_RESOURCES_MONITORING_USAGE => Self::Ignored,
            path::REPORT_CONNECTION => Self::ReportConnection,
            _ => return None,
        })
    }
}

/// The answer to a call that is answered at once, and what the agent told of itself.
///
/// # Errors
/// When the message cannot be read, or the network has no DERP map, without which an agent cannot run.
pub fn answer(
    method: Method,
    message: &[u8],
    agent: Uuid,
    info: Option<&AgentInfo>,
    map: Option<tailnet::DerpMap>,
) -> Result<(Vec<u8>, Option<Told>), String> {
    let answer = match method {
        Method::GetManifest => manifest(agent, info, map)?.encode_to_vec(),
        Method::UpdateStartup => {
            let told = decode::<UpdateStartupRequest>(message)?.startup.unwrap_or_default();
            let (version, directory) = (text(&told.version)?, text(&told.expanded_directory)?);
            let startup = Some(agent_state::Startup { version, directory });
            return Ok((told.encode_to_vec(), Some(Told::State(AgentState { startup, lifecycle: None }))));
        }
        Method::UpdateLifecycle => {
            let told = decode::<UpdateLifecycleRequest>(message)?.lifecycle.unwrap_or_default();
            let lifecycle = Some(agent_state::Lifecycle { state: state(told.state())?, since: since(&told)? });
            return Ok((told.encode_to_vec(), Some(Told::State(AgentState { startup: None, lifecycle }))));
        }
        Method::GetAnnouncementBanners => GetAnnouncementBannersResponse {}.encode_to_vec(),
        Method::GetResourcesMonitoringConfiguration => {
            GetResourcesMonitoringConfigurationResponse { config: Some(MONITORING) }.encode_to_vec()
        }
        Method::UpdateStats => {
            // The first call is empty: it asks for the interval.
            let traffic = decode::<UpdateStatsRequest>(message)?.stats.as_ref().map(traffic).map(Told::Traffic);
            return Ok((UpdateStatsResponse { report_interval: Some(STATS_INTERVAL) }.encode_to_vec(), traffic));
        }
        Method::BatchCreateLogs => BatchCreateLogsResponse { log_limit_exceeded: true }.encode_to_vec(),
        Method::Ignored | Method::ReportConnection => Vec::new(),
    };
    Ok((answer, None))
}

fn traffic(stats: &Stats) -> Traffic {
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let latency = stats.connection_median_latency_ms / 1000.0;
    Traffic {
        received: count(stats.rx_bytes),
        sent: count(stats.tx_bytes),
        connections: count(stats.connection_count),
        // It is 0 or less while there is no connection.
        latency: (latency > 0.0).then_some(latency),
    }
}

/// A text that Postgres takes, no longer than it need be.
fn text(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err("a text has the character U+0000, expected none".to_owned());
    }
    Ok(text.chars().take(MAX_TEXT).collect())
}

fn state(state: lifecycle::State) -> Result<&'static str, String> {
    use lifecycle::State;
    Ok(match state {
        State::Created => "created",
        State::Starting => "starting",
        State::StartTimeout => "start_timeout",
        State::StartError => "start_error",
        State::Ready => "ready",
        State::ShuttingDown => "shutting_down",
        State::ShutdownTimeout => "shutdown_timeout",
        State::ShutdownError => "shutdown_error",
        State::Off => "off",
        State::Unspecified => return Err("a lifecycle without a state".to_owned()),
    })
}

fn since(told: &Lifecycle) -> Result<String, String> {
    time(told.changed_at.as_ref().ok_or("a lifecycle without a time")?)
}

/// A time that Postgres takes.
fn time(time: &Timestamp) -> Result<String, String> {
    if !SECONDS.contains(&time.seconds) {
        return Err(format!("a time of {} s, expected a year from 1 to 9999", time.seconds));
    }
    Ok(time.to_string())
}

/// What an agent is and does.
fn manifest(agent: Uuid, info: Option<&AgentInfo>, map: Option<tailnet::DerpMap>) -> Result<Manifest, String> {
    let map = map.ok_or("the network has no DERP map, an operator sets one with tailnet.set_derp_map")?;
    let info = info.cloned().unwrap_or_default();
    Ok(Manifest {
        agent_id: agent.as_bytes().to_vec(),
        agent_name: info.name,
        owner_username: info.owner,
        workspace_id: info.workspace_id.as_bytes().to_vec(),
        workspace_name: info.workspace,
        directory: info.directory,
        environment_variables: info.environment,
        derp_map: Some(map),
        ..Manifest::default()
    })
}

/// The report of a connection.
///
/// # Errors
/// When the message cannot be read, or is no report.
pub fn report(message: &[u8], agent: Uuid) -> Result<Report, String> {
    let connection = decode::<ReportConnectionRequest>(message)?.connection.ok_or("a report without a connection")?;
    let id = Uuid::new_v4();
    Ok(Report { id, event: Ok(event(id, agent, &connection)?), awaited: true })
}

/// What Postgres takes as an address. An agent would repeat a report for ever that is refused for the sake of this.
fn address(ip: &str) -> Option<String> {
    let (address, _zone) = ip.split_once('%').unwrap_or((ip, ""));
    address.parse::<IpAddr>().ok().map(|address| address.to_string())
}

/// A text as Postgres takes it, and no longer than it need be.
fn clean(text: &str) -> String {
    text.chars().filter(|character| *character != '\0').take(MAX_TEXT).collect()
}

fn event(id: Uuid, agent: Uuid, connection: &Connection) -> Result<ConnectionEvent, String> {
    let r#type = match connection.r#type() {
        connection::Type::Ssh => ConnectionType::Ssh,
        connection::Type::Vscode => ConnectionType::Vscode,
        connection::Type::Jetbrains => ConnectionType::Jetbrains,
        connection::Type::ReconnectingPty => ConnectionType::ReconnectingPty,
        connection::Type::Unspecified => return Err("a connection without a type".to_owned()),
    };
    let time = time(connection.timestamp.as_ref().ok_or("a connection without a timestamp")?)?;
    let (connect_time, disconnect_time) = match connection.action() {
        connection::Action::Connect => (Some(time), None),
        connection::Action::Disconnect => (None, Some(time)),
        connection::Action::Unspecified => return Err("a connection without an action".to_owned()),
    };
    let id_of_connection =
        Uuid::from_slice(&connection.id).map_err(|_| "a connection with an id that is not 16 bytes".to_owned())?;
    let ends = disconnect_time.is_some();
    let event = ConnectionEvent {
        id: Some(id),
        connection_id: Some(id_of_connection),
        agent_id: agent,
        agent_name: None,
        workspace_id: None,
        workspace_name: None,
        owner: None,
        r#type,
        code: ends.then_some(connection.status_code),
        ip: address(&connection.ip),
        user_agent: None,
        user_id: None,
        slug_or_port: None,
        connect_time,
        disconnect_time,
        disconnect_reason: connection.reason.as_deref().map(clean).filter(|reason| ends && !reason.is_empty()),
    };
    event.check().map_err(|error| format!("the connection {error}"))?;
    Ok(event)
}

fn decode<M: Message + Default>(message: &[u8]) -> Result<M, String> {
    M::decode(message).map_err(|error| format!("the message cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: Uuid = Uuid::from_u128(7);

    fn request(change: impl FnOnce(&mut Connection)) -> Vec<u8> {
        let mut connection = Connection {
            id: Uuid::from_u128(9).as_bytes().to_vec(),
            action: connection::Action::Connect.into(),
            r#type: connection::Type::Ssh.into(),
            timestamp: Some(Timestamp { seconds: 1_763_000_000, nanos: 0 }),
            ip: "::1".to_owned(),
            status_code: 0,
            reason: None,
        };
        change(&mut connection);
        ReportConnectionRequest { connection: Some(connection) }.encode_to_vec()
    }

    #[test]
    fn a_report_is_the_event_of_a_connection() {
        let event = report(&request(|_| ()), AGENT).expect("a report").event.expect("an event");
        assert_eq!(event.connect_time.as_deref(), Some("2025-11-13T02:13:20Z"));
        assert_eq!((event.agent_id, event.connection_id, event.code), (AGENT, Some(Uuid::from_u128(9)), None));
        let ended = report(
            &request(|connection| {
                connection.action = connection::Action::Disconnect.into();
                (connection.status_code, connection.reason) = (255, Some("broken".to_owned()));
            }),
            AGENT,
        );
        let event = ended.expect("a report").event.expect("an event");
        assert_eq!((event.code, event.disconnect_reason.as_deref()), (Some(255), Some("broken")));
        assert!(event.connect_time.is_none() && event.disconnect_time.is_some());

        // What is wrong beside the point is left out: an agent would repeat the report for ever.
        for (ip, kept) in [("fe80::1%eth0", Some("fe80::1")), ("localhost", None), ("", None)] {
            let odd = report(
                &request(|connection| {
                    connection.action = connection::Action::Disconnect.into();
                    (connection.ip, connection.reason) = (ip.to_owned(), Some("a\0b".repeat(5000)));
                }),
                AGENT,
            );
            let event = odd.expect("a report").event.expect("an event");
            assert_eq!(event.ip.as_deref(), kept);
            assert!(
                event.disconnect_reason.is_some_and(|reason| reason.len() == MAX_TEXT && reason.starts_with("abab"))
            );
        }
    }

    #[test]
    fn what_is_no_report_is_named() {
        for (message, named) in [
            (request(|connection| connection.r#type = 0), "without a type"),
            (request(|connection| connection.action = 77), "without an action"),
            (request(|connection| connection.timestamp = None), "without a timestamp"),
            (
                request(|connection| connection.timestamp = Some(Timestamp { seconds: i64::MAX, nanos: 0 })),
                "a year from",
            ),
            (request(|connection| connection.id = vec![1]), "an id that is not 16 bytes"),
            (Vec::new(), "without a connection"),
            (vec![0xff], "cannot be read"),
        ] {
            let problem = report(&message, AGENT).expect_err(named);
            assert!(problem.contains(named), "{problem}");
        }
    }

    #[test]
    fn an_agent_cannot_run_without_a_derp_map() {
        let problem = answer(Method::GetManifest, &[], AGENT, None, None).expect_err("no map");
        assert!(problem.contains("tailnet.set_derp_map"), "{problem}");
        let info = AgentInfo { name: "a".to_owned(), ..AgentInfo::default() };
        let map = Some(tailnet::DerpMap::default());
        let (manifest, _) = answer(Method::GetManifest, &[], AGENT, Some(&info), map).expect("a manifest");
        let manifest = Manifest::decode(manifest.as_slice()).expect("a manifest");
        assert_eq!((manifest.agent_id.as_slice(), manifest.agent_name.as_str()), (&AGENT.as_bytes()[..], "a"));
    }

    #[test]
    fn statistics_are_counted_and_the_first_call_has_none() {
        let told = |stats| {
            let request = UpdateStatsRequest { stats }.encode_to_vec();
            answer(Method::UpdateStats, &request, AGENT, None, None).expect("an answer").1
        };
        assert!(told(None).is_none());
        let stats = Stats {
            connection_count: -1,
            connection_median_latency_ms: f64::NAN,
            rx_bytes: 5,
            tx_bytes: 7,
            ..Default::default()
        };
        let Some(Told::Traffic(traffic)) = told(Some(stats)) else { panic!("statistics") };
        assert_eq!(traffic, Traffic { received: 5, sent: 7, connections: 0, latency: None });
    }

    #[test]
    fn what_an_agent_tells_of_itself_is_checked() {
        let tell = |state, seconds: Option<i64>| {
            let changed_at = seconds.map(|seconds| Timestamp { seconds, nanos: 0 });
            let request = UpdateLifecycleRequest { lifecycle: Some(Lifecycle { state, changed_at }) };
            answer(Method::UpdateLifecycle, &request.encode_to_vec(), AGENT, None, None)
        };
        let Ok((_, Some(Told::State(state)))) = tell(lifecycle::State::Ready.into(), Some(0)) else {
            panic!("a state")
        };
        let expected = agent_state::Lifecycle { state: "ready", since: "1970-01-01T00:00:00Z".to_owned() };
        assert_eq!(state.lifecycle, Some(expected));
        assert!(tell(5, Some(i64::MAX)).is_err());
        assert!(tell(0, Some(0)).is_err() && tell(77, Some(0)).is_err() && tell(5, None).is_err());
        assert!(text("a\0").is_err());
        assert_eq!(text(&"é".repeat(5000)).map(|text| text.chars().count()), Ok(MAX_TEXT));
    }
}
