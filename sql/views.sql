-- What tailnet_reader may read. The secrets (registrations, token hashes) stay behind.

CREATE VIEW tailnet.networks AS
SELECT id AS network_id, name, clients_reach_all_agents, created_at
FROM tailnet_private.networks;
COMMENT ON VIEW tailnet.networks IS 'Networks: tunnels never cross them';
COMMENT ON COLUMN tailnet.networks.network_id IS 'The network';
COMMENT ON COLUMN tailnet.networks.name IS 'For people; unique';
COMMENT ON COLUMN tailnet.networks.clients_reach_all_agents IS 'Clients need no grants here';
COMMENT ON COLUMN tailnet.networks.created_at IS 'When it was made';

CREATE VIEW tailnet.identities AS
SELECT i.id AS peer_id, i.name, i.role, n.name AS network, i.created_at, i.revoked_at
FROM tailnet_private.identities i
JOIN tailnet_private.networks n ON n.id = i.network_id;
COMMENT ON VIEW tailnet.identities IS 'Peers that may connect, connected or not';
COMMENT ON COLUMN tailnet.identities.peer_id IS 'The peer';
COMMENT ON COLUMN tailnet.identities.name IS 'For people; NULL when it has none';
COMMENT ON COLUMN tailnet.identities.role IS 'agent, client or hub';
COMMENT ON COLUMN tailnet.identities.network IS 'Name of its network';
COMMENT ON COLUMN tailnet.identities.created_at IS 'When it was made';
COMMENT ON COLUMN tailnet.identities.revoked_at IS 'From then on its token fails; NULL while it is good';

CREATE VIEW tailnet.grants AS
SELECT client_id, agent_id, created_at
FROM tailnet_private.grants;
COMMENT ON VIEW tailnet.grants IS 'Which client may open a tunnel to which agent';
COMMENT ON COLUMN tailnet.grants.client_id IS 'The client that may open the tunnel';
COMMENT ON COLUMN tailnet.grants.agent_id IS 'The agent that it may reach';
COMMENT ON COLUMN tailnet.grants.created_at IS 'When it was granted';

CREATE VIEW tailnet.coordinators AS
SELECT c.id AS coordinator_id, c.name, c.registered_at, c.heartbeat_at, c.restored, c.listener_pid,
       (SELECT pg_catalog.count(*) FROM tailnet_private.peers p WHERE p.coordinator_id = c.id) AS peers
FROM tailnet_private.coordinators c;
COMMENT ON VIEW tailnet.coordinators IS 'Running proxies, their last heartbeat, and how many peers are connected to each';
COMMENT ON COLUMN tailnet.coordinators.coordinator_id IS 'The running proxy';
COMMENT ON COLUMN tailnet.coordinators.name IS 'As the operator named it';
COMMENT ON COLUMN tailnet.coordinators.registered_at IS 'When it last registered: a later time than its start means that it had to recover';
COMMENT ON COLUMN tailnet.coordinators.heartbeat_at IS 'Its last heartbeat';
COMMENT ON COLUMN tailnet.coordinators.restored IS 'False while it still restores the sessions that it held when it registered';
COMMENT ON COLUMN tailnet.coordinators.listener_pid IS 'The backend of its LISTEN connection, as in pg_stat_activity; NULL until it listens';
COMMENT ON COLUMN tailnet.coordinators.peers IS 'Peers with a live session on it';

CREATE VIEW tailnet.peers AS
SELECT p.id AS peer_id, i.name, i.role, n.name AS network, c.name AS coordinator, p.status, p.node, p.updated_at
FROM tailnet_private.peers p
JOIN tailnet_private.identities i ON i.id = p.id
JOIN tailnet_private.networks n ON n.id = i.network_id
LEFT JOIN tailnet_private.coordinators c ON c.id = p.coordinator_id;
COMMENT ON VIEW tailnet.peers IS 'Peers that are or were connected: coordinator is NULL without a live session, status is NULL before the first node';
COMMENT ON COLUMN tailnet.peers.peer_id IS 'The peer';
COMMENT ON COLUMN tailnet.peers.name IS 'For people; NULL when it has none';
COMMENT ON COLUMN tailnet.peers.role IS 'agent, client or hub';
COMMENT ON COLUMN tailnet.peers.network IS 'Name of its network';
COMMENT ON COLUMN tailnet.peers.coordinator IS 'Name of the proxy that holds its live session; NULL when it has none';
COMMENT ON COLUMN tailnet.peers.status IS 'Status of its binding, ok or lost; NULL before the first node';
COMMENT ON COLUMN tailnet.peers.node IS 'The node as it announced it';
COMMENT ON COLUMN tailnet.peers.updated_at IS 'When the binding or the session last changed';

CREATE VIEW tailnet.tunnels AS
SELECT t.src AS src_id, t.dst AS dst_id, s.name AS src_name, d.name AS dst_name, t.created_at
FROM tailnet_private.tunnels t
JOIN tailnet_private.identities s ON s.id = t.src
JOIN tailnet_private.identities d ON d.id = t.dst;
COMMENT ON VIEW tailnet.tunnels IS 'Open tunnels, from the peer that opened it to the peer that it leads to';
COMMENT ON COLUMN tailnet.tunnels.src_id IS 'The peer that opened it';
COMMENT ON COLUMN tailnet.tunnels.dst_id IS 'The peer that it leads to';
COMMENT ON COLUMN tailnet.tunnels.src_name IS 'Name of the first';
COMMENT ON COLUMN tailnet.tunnels.dst_name IS 'Name of the second';
COMMENT ON COLUMN tailnet.tunnels.created_at IS 'When it was opened';
