-- Who is connected now. These tables are unlogged: a crash or a failover empties them, and the proxies fill them again.
-- They have no foreign keys: the functions that write rows have checked them already, and a check of each row would make
-- the most frequent writes slower.

CREATE UNLOGGED TABLE tailnet_private.coordinators (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    registration uuid NOT NULL UNIQUE,
    registered_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    on_time_since timestamptz NOT NULL,
    restored boolean NOT NULL DEFAULT false,
    settled boolean NOT NULL DEFAULT false,
    protocol integer NOT NULL,
    listener_pid integer,
    listener_started_at timestamptz
);
COMMENT ON TABLE tailnet_private.coordinators IS 'Running proxies. A row is deleted when its proxy closes or is expired';
COMMENT ON COLUMN tailnet_private.coordinators.id IS 'The running proxy. Its process makes the id when it starts';
COMMENT ON COLUMN tailnet_private.coordinators.name IS 'The name that the operator gave the proxy';
COMMENT ON COLUMN tailnet_private.coordinators.registration IS 'Random secret of the latest registration. It is the name of the LISTEN channel, and calls of earlier registrations are refused';
COMMENT ON COLUMN tailnet_private.coordinators.registered_at IS 'When it last registered. A later time than its start means that it had to recover';
COMMENT ON COLUMN tailnet_private.coordinators.heartbeat_at IS 'When it last sent a heartbeat';
COMMENT ON COLUMN tailnet_private.coordinators.on_time_since IS 'Since when all its heartbeats were on time. Only a coordinator whose heartbeats were on time may expire others';
COMMENT ON COLUMN tailnet_private.coordinators.restored IS 'Whether it has restored all sessions that it held when it registered';
COMMENT ON COLUMN tailnet_private.coordinators.settled IS 'Whether it was told that a peer missing from these tables is absent; see tailnet_private.restoration';
COMMENT ON COLUMN tailnet_private.coordinators.protocol IS 'The version of the protocol between proxy and extension that the proxy speaks';
COMMENT ON COLUMN tailnet_private.coordinators.listener_pid IS 'The backend of its LISTEN connection, as in pg_stat_activity; NULL until it listens. It is ended together with the registration, because a stuck backend would keep Postgres from emptying its queue of notifications';
COMMENT ON COLUMN tailnet_private.coordinators.listener_started_at IS 'When that backend started. It tells backends apart, because the system reuses process ids';

CREATE UNLOGGED TABLE tailnet_private.restoration (
    ended_at timestamptz NOT NULL,
    one boolean PRIMARY KEY DEFAULT true CHECK (one)
);
COMMENT ON TABLE tailnet_private.restoration IS 'Has its one row when all coordinators have restored their sessions after a crash emptied these tables. Until then a missing peer may only not be restored yet';
COMMENT ON COLUMN tailnet_private.restoration.ended_at IS 'When a coordinator found that all coordinators have restored their sessions. Its own heartbeats had been on time for as long as an expiry takes';
COMMENT ON COLUMN tailnet_private.restoration.one IS 'Makes sure that there is only one row';

CREATE UNLOGGED TABLE tailnet_private.peers (
    id uuid PRIMARY KEY,
    network_id uuid NOT NULL,
    role text NOT NULL,
    coordinator_id uuid,
    session bigint NOT NULL,
    status text CHECK (status IN ('ok', 'lost')),
    digest bigint,
    node json,
    updated_at timestamptz NOT NULL,
    lost_at timestamptz,
    key_id uuid,
    token_number integer,
    time_to_live interval,
    forget_at timestamptz,
    CHECK ((key_id IS NULL) = (token_number IS NULL) AND (key_id IS NULL) = (time_to_live IS NULL)),
    CHECK ((status IS NULL) = (node IS NULL) AND (node IS NULL) = (digest IS NULL))
) WITH (fillfactor = 70);
-- Only for the end of a coordinator. Statements that find rows by id say "coordinator_id IS NOT DISTINCT FROM", which cannot
-- use an index. With "=" and no statistics the planner would use this index, and compare each entry with all peers.
CREATE INDEX peers_coordinator_id ON tailnet_private.peers (coordinator_id) WHERE coordinator_id IS NOT NULL;
-- For the removal of peers with an identity that stay lost. It is not on updated_at: each node update writes that column, and an index on it
-- would make HOT updates impossible.
CREATE INDEX peers_lost_at ON tailnet_private.peers (lost_at) WHERE lost_at IS NOT NULL AND key_id IS NULL;
-- For the end of a key or of one of its tokens, and for a change of its tags.
CREATE INDEX peers_key_id ON tailnet_private.peers (key_id, id) WHERE key_id IS NOT NULL;
-- For the peers of keys that stay away.
CREATE INDEX peers_forget_at ON tailnet_private.peers (forget_at) WHERE forget_at IS NOT NULL;
COMMENT ON TABLE tailnet_private.peers IS 'Peers that are or were connected. Pages keep free room, so that node updates are HOT';
COMMENT ON COLUMN tailnet_private.peers.id IS 'The peer';
COMMENT ON COLUMN tailnet_private.peers.network_id IS 'A copy from the identity or key, where it never changes. So a change of a peer reads no other row of it';
COMMENT ON COLUMN tailnet_private.peers.role IS 'A copy from the identity or key, where it never changes';
COMMENT ON COLUMN tailnet_private.peers.coordinator_id IS 'The coordinator that holds its live session; NULL: it has none';
COMMENT ON COLUMN tailnet_private.peers.session IS 'Its newest session. Writes of its other sessions have no effect';
COMMENT ON COLUMN tailnet_private.peers.status IS 'Status of its binding, ok or lost; NULL: it never announced a node';
COMMENT ON COLUMN tailnet_private.peers.digest IS 'Digest of the node without as_of. Equal digests mean the same node';
COMMENT ON COLUMN tailnet_private.peers.node IS 'The node, as the peer announced it. The type json keeps the text; jsonb would be parsed and printed at each step';
COMMENT ON COLUMN tailnet_private.peers.updated_at IS 'When the binding or the session last changed';
COMMENT ON COLUMN tailnet_private.peers.lost_at IS 'When its session ended without a goodbye; NULL: it has a live session';
COMMENT ON COLUMN tailnet_private.peers.key_id IS 'The key that it came with: it is ephemeral, and has no identity; NULL: it has one';
COMMENT ON COLUMN tailnet_private.peers.token_number IS 'Which token of the key its newest session came with; NULL: it has an identity';
COMMENT ON COLUMN tailnet_private.peers.time_to_live IS 'How long it is kept after its session ended, a copy from the key; NULL: it has an identity';
COMMENT ON COLUMN tailnet_private.peers.forget_at IS 'When it is removed, unless it comes back; NULL: it has a live session or an identity';

CREATE UNLOGGED TABLE tailnet_private.tunnels (
    src uuid NOT NULL,
    dst uuid NOT NULL CHECK (dst <> src),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (src, dst)
);
CREATE INDEX tunnels_dst_src ON tailnet_private.tunnels (dst, src);
COMMENT ON TABLE tailnet_private.tunnels IS 'Open tunnels: directed pairs of peers that learn each other''s binding. Each direction has an index that answers without the table';
COMMENT ON COLUMN tailnet_private.tunnels.src IS 'The peer that opened it';
COMMENT ON COLUMN tailnet_private.tunnels.dst IS 'The peer that it leads to';
COMMENT ON COLUMN tailnet_private.tunnels.created_at IS 'When it was opened, by the clock of the database';
