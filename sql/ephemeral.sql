-- Who is here now: unlogged tables, emptied by a crash or a failover and filled again by the proxies. They have no
-- foreign keys: every row is written by a function that has checked it, and a check a row would cost on the hot path.

CREATE UNLOGGED TABLE tailnet_private.coordinators (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    registration uuid NOT NULL UNIQUE,
    registered_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    on_time_since timestamptz NOT NULL,
    restored boolean NOT NULL DEFAULT false,
    settled boolean NOT NULL DEFAULT false,
    listener_pid integer,
    listener_started_at timestamptz
);
COMMENT ON TABLE tailnet_private.coordinators IS 'Running proxies; a row is deleted when its proxy closes or is expired';
COMMENT ON COLUMN tailnet_private.coordinators.id IS 'Made by the proxy process when it starts';
COMMENT ON COLUMN tailnet_private.coordinators.name IS 'As the operator named the proxy';
COMMENT ON COLUMN tailnet_private.coordinators.registration IS 'Random secret of the latest registration: names the LISTEN channel and fences calls of earlier ones';
COMMENT ON COLUMN tailnet_private.coordinators.registered_at IS 'When it last registered';
COMMENT ON COLUMN tailnet_private.coordinators.heartbeat_at IS 'Its last heartbeat';
COMMENT ON COLUMN tailnet_private.coordinators.on_time_since IS 'Since when no heartbeat of its own was late: only then may it expire others';
COMMENT ON COLUMN tailnet_private.coordinators.restored IS 'All sessions that it held when it registered are restored';
COMMENT ON COLUMN tailnet_private.coordinators.settled IS 'It was told that what is absent from these tables is absent, see tailnet_private.restoration';
COMMENT ON COLUMN tailnet_private.coordinators.listener_pid IS 'The backend of its LISTEN connection, ended with the registration: one that is stuck would keep the queue of notifications from being emptied';
COMMENT ON COLUMN tailnet_private.coordinators.listener_started_at IS 'When that backend started: the system uses a pid again';

CREATE UNLOGGED TABLE tailnet_private.restoration (
    ended_at timestamptz NOT NULL,
    one boolean PRIMARY KEY DEFAULT true CHECK (one)
);
COMMENT ON TABLE tailnet_private.restoration IS 'One row once everybody is back after these tables were emptied. Until then a missing peer may just not be restored yet';
COMMENT ON COLUMN tailnet_private.restoration.ended_at IS 'When a coordinator whose beats were on time for the time of an expiry found that nobody restores any more';
COMMENT ON COLUMN tailnet_private.restoration.one IS 'There is one row only';

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
    CHECK ((status IS NULL) = (node IS NULL) AND (node IS NULL) = (digest IS NULL))
) WITH (fillfactor = 70);
-- For the end of a coordinator only. Statements that find rows by id say "coordinator_id IS NOT DISTINCT FROM", which no
-- index answers: without statistics the planner would take this one, and compare each entry with all peers.
CREATE INDEX peers_coordinator_id ON tailnet_private.peers (coordinator_id) WHERE coordinator_id IS NOT NULL;
-- For the removal of those that stay away. Not on updated_at: an index on what each node update writes would end HOT.
CREATE INDEX peers_lost_at ON tailnet_private.peers (lost_at) WHERE lost_at IS NOT NULL;
COMMENT ON TABLE tailnet_private.peers IS 'One row a peer that is or was connected; room in the page keeps node updates HOT';
COMMENT ON COLUMN tailnet_private.peers.id IS 'The peer id';
COMMENT ON COLUMN tailnet_private.peers.network_id IS 'Of the identity, where it never changes: a change of the peer finds here which network it is in, and reads no other row of it';
COMMENT ON COLUMN tailnet_private.peers.role IS 'Of the identity, where it never changes';
COMMENT ON COLUMN tailnet_private.peers.coordinator_id IS 'The coordinator that holds its live session; NULL when it has none';
COMMENT ON COLUMN tailnet_private.peers.session IS 'Its newest session; writes of another one have no effect';
COMMENT ON COLUMN tailnet_private.peers.status IS 'Status of the binding, ok or lost; NULL: it never announced a node';
COMMENT ON COLUMN tailnet_private.peers.digest IS 'Of the node without as_of: equal digests are the same node';
COMMENT ON COLUMN tailnet_private.peers.node IS 'As the peer sent it: json keeps the text, and saves the parsing and printing of jsonb on each hop';
COMMENT ON COLUMN tailnet_private.peers.updated_at IS 'When the binding or the session last changed';
COMMENT ON COLUMN tailnet_private.peers.lost_at IS 'When its session ended without a goodbye; NULL while it has one';

CREATE UNLOGGED TABLE tailnet_private.tunnels (
    src uuid NOT NULL,
    dst uuid NOT NULL CHECK (dst <> src),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (src, dst)
);
CREATE INDEX tunnels_dst_src ON tailnet_private.tunnels (dst, src);
COMMENT ON TABLE tailnet_private.tunnels IS 'Directed pairs; both ends learn each other''s binding. Each direction has an index that answers without the table';
COMMENT ON COLUMN tailnet_private.tunnels.src IS 'The peer that opened it';
COMMENT ON COLUMN tailnet_private.tunnels.dst IS 'The peer that it leads to';
COMMENT ON COLUMN tailnet_private.tunnels.created_at IS 'By the clock of the database';
