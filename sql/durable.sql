-- Who may take part: logged tables that survive a crash and travel with pg_dump.

CREATE SCHEMA tailnet_private;
COMMENT ON SCHEMA tailnet_private IS 'Tables behind the schema tailnet; nobody but its functions and views touches them';

CREATE TABLE tailnet_private.networks (
    id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (name <> ''),
    clients_reach_all_agents boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE tailnet_private.networks IS 'The unit of isolation and of ordering: tunnels never cross networks';
COMMENT ON COLUMN tailnet_private.networks.id IS 'Also decides which of the 64 advisory locks orders the network';
COMMENT ON COLUMN tailnet_private.networks.name IS 'For people; unique';
COMMENT ON COLUMN tailnet_private.networks.clients_reach_all_agents IS 'Clients need no grants here';
COMMENT ON COLUMN tailnet_private.networks.created_at IS 'By the clock of the database';

CREATE TABLE tailnet_private.identities (
    id uuid PRIMARY KEY CHECK (id <> '00000000-0000-0000-0000-000000000000'),
    network_id uuid NOT NULL REFERENCES tailnet_private.networks,
    role text NOT NULL CHECK (role IN ('agent', 'client', 'hub')),
    name text CHECK (name <> ''),
    token_sha256 bytea NOT NULL UNIQUE CHECK (pg_catalog.length(token_sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    revoked_at timestamptz,
    session bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
COMMENT ON TABLE tailnet_private.identities IS 'Peers that may connect. Network and role of an identity never change';
COMMENT ON COLUMN tailnet_private.identities.id IS 'The peer id; an agent''s addresses follow from it';
COMMENT ON COLUMN tailnet_private.identities.network_id IS 'The only network that the peer learns of';
COMMENT ON COLUMN tailnet_private.identities.role IS 'agent, client or hub: what it may announce and open';
COMMENT ON COLUMN tailnet_private.identities.name IS 'For people; NULL when it has none';
COMMENT ON COLUMN tailnet_private.identities.token_sha256 IS 'SHA-256 of its token; a token has 244 random bits, so a salt would add nothing';
COMMENT ON COLUMN tailnet_private.identities.created_at IS 'By the clock of the database';
COMMENT ON COLUMN tailnet_private.identities.revoked_at IS 'From then on the token fails; NULL while it is good';
COMMENT ON COLUMN tailnet_private.identities.session IS 'Its newest session that was attached: it outlives a crash of the unlogged tables, so that no older one can be restored after it';

CREATE TABLE tailnet_private.grants (
    client_id uuid NOT NULL REFERENCES tailnet_private.identities ON DELETE CASCADE,
    agent_id uuid NOT NULL REFERENCES tailnet_private.identities ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (client_id, agent_id)
);
CREATE INDEX grants_agent_id_client_id ON tailnet_private.grants (agent_id, client_id);
COMMENT ON TABLE tailnet_private.grants IS 'Which client may open a tunnel to which agent';
COMMENT ON COLUMN tailnet_private.grants.client_id IS 'The client that may open it';
COMMENT ON COLUMN tailnet_private.grants.agent_id IS 'The agent that it may reach';
COMMENT ON COLUMN tailnet_private.grants.created_at IS 'By the clock of the database';

CREATE SEQUENCE tailnet_private.sessions;
COMMENT ON SEQUENCE tailnet_private.sessions IS 'Numbers of sessions: of two sessions of a peer the higher one is the newer';

SELECT pg_catalog.pg_extension_config_dump('tailnet_private.networks', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.identities', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.grants', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.sessions', '');
