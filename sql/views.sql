-- The views of the tables about networks, peers and coordinators, which tailnet_reader may read. They leave out the secrets:
-- registrations and token hashes. Columns without a comment here get that of the table, see view_comments.sql.

CREATE VIEW tailnet.networks AS
SELECT id AS network_id, name, clients_reach_all_agents, agent_connect_timeout, agent_inactive_timeout, created_at
FROM tailnet_private.networks;
COMMENT ON VIEW tailnet.networks IS 'Networks. Tunnels never cross them';

CREATE VIEW tailnet.identities AS
SELECT i.id AS peer_id, i.name, i.role, n.name AS network, i.created_at, i.expires_at, i.revoked_at
FROM tailnet_private.identities i
JOIN tailnet_private.networks n ON n.id = i.network_id;
COMMENT ON VIEW tailnet.identities IS 'Peers that may connect, connected or not';
COMMENT ON COLUMN tailnet.identities.network IS 'Name of its network';

CREATE VIEW tailnet.grants AS
SELECT client_id, agent_id, created_at
FROM tailnet_private.grants;
COMMENT ON VIEW tailnet.grants IS 'Which client may open a tunnel to which agent';

CREATE VIEW tailnet.coordinators AS
SELECT c.id AS coordinator_id, c.name, c.registered_at, c.heartbeat_at, c.restored, c.protocol, c.listener_pid,
       (SELECT pg_catalog.count(*) FROM tailnet_private.peers p WHERE p.coordinator_id = c.id) AS peers
FROM tailnet_private.coordinators c;
COMMENT ON VIEW tailnet.coordinators IS 'Running proxies, their last heartbeat, and how many peers are connected to each';
COMMENT ON COLUMN tailnet.coordinators.peers IS 'How many peers have a live session on it';

CREATE VIEW tailnet.peers AS
SELECT p.id AS peer_id, coalesce(i.name, k.name) AS name, p.role, n.name AS network, c.name AS coordinator, p.status, p.node,
       p.updated_at, p.key_id, coalesce(i.expires_at, k.expires_at) AS expires_at
FROM tailnet_private.peers p
JOIN tailnet_private.networks n ON n.id = p.network_id
LEFT JOIN tailnet_private.identities i ON i.id = p.id
LEFT JOIN tailnet_private.keys k ON k.id = p.key_id
LEFT JOIN tailnet_private.coordinators c ON c.id = p.coordinator_id;
COMMENT ON VIEW tailnet.peers IS 'Peers that are or were connected';
COMMENT ON COLUMN tailnet.peers.name IS 'A name for people, its own or that of its key; NULL: it has none';
COMMENT ON COLUMN tailnet.peers.expires_at IS 'From when on it or its key is not good; NULL: it does not expire';
COMMENT ON COLUMN tailnet.peers.role IS 'agent, client or hub';
COMMENT ON COLUMN tailnet.peers.network IS 'Name of its network';
COMMENT ON COLUMN tailnet.peers.coordinator IS 'Name of the proxy that holds its live session; NULL: it has none';

CREATE VIEW tailnet.tunnels AS
SELECT t.src AS src_id, t.dst AS dst_id, coalesce(s.name, sk.name) AS src_name, coalesce(d.name, dk.name) AS dst_name,
       t.created_at
FROM tailnet_private.tunnels t
LEFT JOIN tailnet_private.identities s ON s.id = t.src
LEFT JOIN tailnet_private.peers sp ON sp.id = t.src
LEFT JOIN tailnet_private.keys sk ON sk.id = sp.key_id
LEFT JOIN tailnet_private.identities d ON d.id = t.dst
LEFT JOIN tailnet_private.peers dp ON dp.id = t.dst
LEFT JOIN tailnet_private.keys dk ON dk.id = dp.key_id;
COMMENT ON VIEW tailnet.tunnels IS 'Open tunnels, from the peer that opened it to the peer that it leads to';
COMMENT ON COLUMN tailnet.tunnels.src_name IS 'Name of the peer that opened it';
COMMENT ON COLUMN tailnet.tunnels.dst_name IS 'Name of the peer that it leads to';
