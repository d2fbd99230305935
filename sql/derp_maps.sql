-- The DERP maps of networks: the relays through which peers that speak tailnet v2 meet. This table is logged.
--
-- A version rises with each change and is the same for all networks, so whoever knows two answers knows which is newer, also when
-- a network gets a map of its own or gives it up.

CREATE SEQUENCE tailnet_private.derp_map_versions;
COMMENT ON SEQUENCE tailnet_private.derp_map_versions IS 'The versions of DERP maps';

CREATE TABLE tailnet_private.derp_maps (
    network_id uuid REFERENCES tailnet_private.networks,
    version bigint NOT NULL,
    map jsonb,
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    changed_by name NOT NULL DEFAULT session_user
);
CREATE UNIQUE INDEX derp_maps_network ON tailnet_private.derp_maps (coalesce(network_id, '00000000-0000-0000-0000-000000000000'));
COMMENT ON TABLE tailnet_private.derp_maps IS 'The DERP maps of networks, and the one of all networks without a map of their own';
COMMENT ON COLUMN tailnet_private.derp_maps.network_id IS 'The network; NULL: all that have no map of their own';
COMMENT ON COLUMN tailnet_private.derp_maps.version IS 'Rises with each change of any map';
COMMENT ON COLUMN tailnet_private.derp_maps.map IS 'The map, with the fields of tailcfg.DERPMap; NULL: it was taken away';
COMMENT ON COLUMN tailnet_private.derp_maps.changed_at IS 'When it was last changed, by the clock of the database';
COMMENT ON COLUMN tailnet_private.derp_maps.changed_by IS 'The role that changed it';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.derp_maps', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.derp_map_versions', '');

CREATE FUNCTION tailnet_private.check_derp_map(map text) RETURNS void
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'check_derp_map_wrapper';
COMMENT ON FUNCTION tailnet_private.check_derp_map(text) IS 'Raises an error that names what a client could not use in a DERP map';

CREATE FUNCTION tailnet.set_derp_map(network text, map jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    -- NULL stays NULL: all networks.
    target uuid := CASE WHEN network IS NOT NULL THEN tailnet_private.network_id(network) END;
    made bigint;
BEGIN
    PERFORM tailnet_private.check_derp_map(map::text);
    -- Of two changes at once, the later one waits here and gets the higher version.
    INSERT INTO tailnet_private.derp_maps AS d (network_id, version, map)
    VALUES (target, pg_catalog.nextval('tailnet_private.derp_map_versions'), map)
    ON CONFLICT (coalesce(network_id, '00000000-0000-0000-0000-000000000000')) DO UPDATE SET
        version = pg_catalog.nextval('tailnet_private.derp_map_versions'),
        map = EXCLUDED.map, changed_at = EXCLUDED.changed_at, changed_by = EXCLUDED.changed_by
    RETURNING d.version INTO made;
    -- This function tells nobody: a proxy does, see sql/pending.sql.
    INSERT INTO tailnet_private.pending (kind, network_id) VALUES ('derp_map', target);
    RETURN made;
END
$$;
COMMENT ON FUNCTION tailnet.set_derp_map(text, jsonb) IS 'Sets the DERP map of a network, or with NULL that of all networks that have none of their own, and returns its version. The map has the fields of tailcfg.DERPMap; NULL takes the map away. Connected peers are told at once';

CREATE FUNCTION tailnet.derp_maps_of(networks uuid[]) RETURNS TABLE (network_id uuid, version bigint, map text)
LANGUAGE sql STABLE STRICT ROWS 10 AS $$
    -- While a network has no map of its own, its version is the higher one: it rises also when its own map goes.
    SELECT q.id,
           CASE WHEN own.map IS NULL THEN greatest(own.version, common.version, 0) ELSE own.version END,
           coalesce(own.map, common.map)::text
    FROM unnest(networks) q(id)
    LEFT JOIN tailnet_private.derp_maps own ON coalesce(own.network_id, '00000000-0000-0000-0000-000000000000') = q.id
    LEFT JOIN tailnet_private.derp_maps common ON coalesce(common.network_id, '00000000-0000-0000-0000-000000000000') = '00000000-0000-0000-0000-000000000000'
$$;
COMMENT ON FUNCTION tailnet.derp_maps_of(uuid[]) IS 'The DERP map of each network, as text, and its version: its own, or else that of all networks; NULL and 0: there is none';

CREATE VIEW tailnet.derp_maps AS
SELECT n.name AS network, d.network_id, d.version, d.map, d.changed_at, d.changed_by
FROM tailnet_private.derp_maps d
LEFT JOIN tailnet_private.networks n ON n.id = d.network_id;
COMMENT ON VIEW tailnet.derp_maps IS 'The DERP maps of networks, and that of all networks without a map of their own';
COMMENT ON COLUMN tailnet.derp_maps.network IS 'The name of the network; NULL: all that have no map of their own';
