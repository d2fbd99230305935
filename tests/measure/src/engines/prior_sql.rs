//! Tables and statements of the prior design.

/// As the prior design has them, in a schema of their own; pages keep room as those of the extension do.
pub const TABLES: &str = "
    CREATE SCHEMA replicas;
    CREATE UNLOGGED TABLE replicas.peers (
        id uuid NOT NULL,
        coordinator_id uuid NOT NULL,
        updated_at timestamptz NOT NULL,
        node json NOT NULL,
        status text NOT NULL,
        PRIMARY KEY (id, coordinator_id)
    ) WITH (fillfactor = 70);
    CREATE INDEX ON replicas.peers (coordinator_id);
    CREATE UNLOGGED TABLE replicas.tunnels (
        coordinator_id uuid NOT NULL,
        src_id uuid NOT NULL,
        dst_id uuid NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (coordinator_id, src_id, dst_id)
    );
    CREATE INDEX ON replicas.tunnels USING hash (src_id);
    CREATE INDEX ON replicas.tunnels USING hash (dst_id);
    GRANT USAGE ON SCHEMA replicas TO tailnet_proxy;
    GRANT ALL ON ALL TABLES IN SCHEMA replicas TO tailnet_proxy";

/// What a change costs.
pub const KINDS: &[(&str, &str)] = &[
    ("upsert", "INTO replicas.peers"),
    ("notify", "SELECT pg_notify"),
    ("partners of 50", "AS partner_of"),
    ("nodes of 50", "AS node_for"),
];

/// Without it the planner would look at each array, plan anew, and scan the table of tunnels for fifty ids.
pub const SETTINGS: &str = "SET plan_cache_mode = force_generic_plan";

/// A change, by itself.
pub const UPSERT: &str = "
    INSERT INTO replicas.peers (id, coordinator_id, node, status, updated_at)
    VALUES ($1, $2, $3::text::json, 'ok', now())
    ON CONFLICT (id, coordinator_id) DO UPDATE SET
        node = EXCLUDED.node, status = EXCLUDED.status, updated_at = EXCLUDED.updated_at";

/// Every replica hears of each change.
pub const NOTIFY: &str = "SELECT pg_notify('replicas_peer_update', $1)";

/// In one transaction, as the triggers of the prior design did until 2026.
pub const UPSERT_AND_NOTIFY: &str = "
    WITH written AS (
        INSERT INTO replicas.peers (id, coordinator_id, node, status, updated_at)
        VALUES ($1, $2, $3::text::json, 'ok', now())
        ON CONFLICT (id, coordinator_id) DO UPDATE SET
            node = EXCLUDED.node, status = EXCLUDED.status, updated_at = EXCLUDED.updated_at
        RETURNING id)
    SELECT pg_notify('replicas_peer_update', id::text) FROM written";

/// A client's tunnel to an agent.
pub const OPEN_TUNNEL: &str = "
    INSERT INTO replicas.tunnels (coordinator_id, src_id, dst_id, updated_at) VALUES ($1, $2, $3, now())
    ON CONFLICT (coordinator_id, src_id, dst_id) DO UPDATE SET updated_at = EXCLUDED.updated_at";

/// The partners of peers that changed.
pub const PARTNERS: &str = "
    SELECT dst_id AS partner_of FROM replicas.tunnels WHERE src_id = ANY($1)
    UNION ALL
    SELECT src_id FROM replicas.tunnels WHERE dst_id = ANY($1)";

/// The nodes of all partners of peers, whichever of them changed.
pub const NODES: &str = "
    SELECT t.lookup_id AS node_for, p.id, p.node
    FROM (
        SELECT dst_id AS id, src_id AS lookup_id FROM replicas.tunnels WHERE src_id = ANY($1)
        UNION
        SELECT src_id, dst_id FROM replicas.tunnels WHERE dst_id = ANY($1)
    ) t
    JOIN replicas.peers p ON p.id = t.id";

/// The same for a tunnel, by its two ends.
pub const NOTIFY_TUNNEL: &str = "SELECT pg_notify('replicas_tunnel_update', $1)";

/// Of each replica.
pub const LISTEN: &str = "LISTEN replicas_peer_update; LISTEN replicas_tunnel_update";
