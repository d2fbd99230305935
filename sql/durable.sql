-- Who may take part. These tables are logged: they survive a crash, and pg_dump carries them.

CREATE SCHEMA tailnet_private;
COMMENT ON SCHEMA tailnet_private IS 'The tables behind the schema tailnet. Only the functions and views of that schema use them';

CREATE TABLE tailnet_private.networks (
    id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (name <> ''),
    clients_reach_all_agents boolean NOT NULL DEFAULT false,
    agent_connect_timeout interval NOT NULL DEFAULT '2 min' CHECK (agent_connect_timeout > '0'),
    agent_inactive_timeout interval NOT NULL DEFAULT '45 s' CHECK (agent_inactive_timeout > '0'),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    deleted_at timestamptz
);
COMMENT ON TABLE tailnet_private.networks IS 'Networks: the unit of isolation and of ordering. Tunnels never cross networks';
COMMENT ON COLUMN tailnet_private.networks.id IS 'The network. Its id decides which of the 64 advisory locks orders it';
COMMENT ON COLUMN tailnet_private.networks.name IS 'A unique name, for people';
COMMENT ON COLUMN tailnet_private.networks.clients_reach_all_agents IS 'Whether clients may open tunnels to all agents, without grants';
COMMENT ON COLUMN tailnet_private.networks.agent_connect_timeout IS 'An agent that was made longer ago than this and has never connected has status timeout; see tailnet.set_agent_timeouts';
COMMENT ON COLUMN tailnet_private.networks.agent_inactive_timeout IS 'An agent that was last heard longer ago than this has status disconnected; see tailnet.set_agent_timeouts';
COMMENT ON COLUMN tailnet_private.networks.created_at IS 'When it was made, by the clock of the database';
COMMENT ON COLUMN tailnet_private.networks.deleted_at IS 'When it was deleted: the proxies end its peers, and then delete its rows; NULL: it is not deleted';

CREATE TABLE tailnet_private.identities (
    id uuid PRIMARY KEY CHECK (id <> '00000000-0000-0000-0000-000000000000'),
    network_id uuid NOT NULL REFERENCES tailnet_private.networks,
    role text NOT NULL CHECK (role IN ('agent', 'client', 'hub')),
    name text CHECK (name <> ''),
    token_sha256 bytea NOT NULL UNIQUE CHECK (pg_catalog.length(token_sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    session bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
-- For the identities that expire, which are looked for again and again.
CREATE INDEX identities_expires_at ON tailnet_private.identities (expires_at) WHERE revoked_at IS NULL AND expires_at IS NOT NULL;
COMMENT ON TABLE tailnet_private.identities IS 'Peers that may connect. The network and the role of an identity never change';
COMMENT ON COLUMN tailnet_private.identities.id IS 'The peer. The addresses of an agent follow from its id';
COMMENT ON COLUMN tailnet_private.identities.network_id IS 'The network of the peer. It learns of no other network';
COMMENT ON COLUMN tailnet_private.identities.role IS 'agent, client or hub: decides which nodes the peer may announce and which tunnels it may open';
COMMENT ON COLUMN tailnet_private.identities.name IS 'A name for people; NULL: it has none';
COMMENT ON COLUMN tailnet_private.identities.token_sha256 IS 'SHA-256 of its token. A token has 244 random bits, so a salt would add nothing';
COMMENT ON COLUMN tailnet_private.identities.created_at IS 'When it was made, by the clock of the database';
COMMENT ON COLUMN tailnet_private.identities.expires_at IS 'From when on its token is refused; NULL: it does not expire';
COMMENT ON COLUMN tailnet_private.identities.revoked_at IS 'When it was revoked, or found to be expired (then it is expires_at). From then on its token is refused; NULL: it is not revoked';
COMMENT ON COLUMN tailnet_private.identities.session IS 'The newest session that was attached. A crash empties the unlogged tables but not this one, so no older session can be restored afterwards';

CREATE TABLE tailnet_private.grants (
    client_id uuid NOT NULL REFERENCES tailnet_private.identities ON DELETE CASCADE,
    agent_id uuid NOT NULL REFERENCES tailnet_private.identities ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (client_id, agent_id)
);
CREATE INDEX grants_agent_id_client_id ON tailnet_private.grants (agent_id, client_id);
COMMENT ON TABLE tailnet_private.grants IS 'Which client may open a tunnel to which agent';
COMMENT ON COLUMN tailnet_private.grants.client_id IS 'The client that may open the tunnel';
COMMENT ON COLUMN tailnet_private.grants.agent_id IS 'The agent that the client may reach';
COMMENT ON COLUMN tailnet_private.grants.created_at IS 'When it was granted, by the clock of the database';

CREATE SEQUENCE tailnet_private.sessions;
COMMENT ON SEQUENCE tailnet_private.sessions IS 'The numbers of sessions. Of two sessions of a peer the one with the higher number is the newer';

SELECT pg_catalog.pg_extension_config_dump('tailnet_private.networks', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.identities', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.grants', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.sessions', '');
