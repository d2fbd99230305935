-- tests/objects.sql: "make up" compares two databases with it, one made from earlier SQL and one made from today's.
\getenv dir PG_ABS_SRCDIR
\set objects :dir '/../objects.sql'
\set ECHO none
\i :objects
\set ECHO all
CREATE TABLE before AS TABLE extension_objects;
CREATE VIEW changed AS
    SELECT DISTINCT object
    FROM extension_objects o FULL JOIN before b USING (object, definition)
    WHERE o.object IS NULL OR b.object IS NULL
    ORDER BY object;
SELECT count(*) > 100 AS objects, count(*) = count(DISTINCT object) AS each_once FROM extension_objects;

-- Two builds make the same objects in different orders: that is no change.
BEGIN;
SELECT pg_get_indexdef('tailnet_private.grants_agent_id_client_id'::regclass) AS index \gset
DROP INDEX tailnet_private.grants_agent_id_client_id;
:index;
SELECT pg_get_functiondef('tailnet_private.expect_role'::regproc) AS function,
    obj_description('tailnet_private.expect_role'::regproc) AS comment \gset
ALTER EXTENSION pg_tailnet DROP FUNCTION tailnet_private.expect_role;
DROP FUNCTION tailnet_private.expect_role;
:function;
COMMENT ON FUNCTION tailnet_private.expect_role IS :'comment';
REVOKE ALL ON FUNCTION tailnet_private.expect_role FROM PUBLIC;
ALTER EXTENSION pg_tailnet ADD FUNCTION tailnet_private.expect_role;
SELECT * FROM changed;
ROLLBACK;

-- Each of these is one.
BEGIN;
CREATE OR REPLACE FUNCTION tailnet_private.token_sha256(token text) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$;
ALTER FUNCTION tailnet.tunnel_peer_ids(uuid[]) ROWS 501;
GRANT EXECUTE ON FUNCTION tailnet.revoke_peer(uuid) TO tailnet_reader;
COMMENT ON FUNCTION tailnet.revoke_tunnel(uuid, uuid) IS 'another';
GRANT CREATE ON SCHEMA tailnet TO tailnet_reader;
ALTER SEQUENCE tailnet_private.sessions INCREMENT 2;
ALTER TABLE tailnet_private.networks ADD COLUMN another integer, ADD CONSTRAINT another CHECK (another > 0);
ALTER TABLE tailnet_private.grants ALTER COLUMN created_at DROP DEFAULT;
ALTER TABLE tailnet_private.peers SET (fillfactor = 11);
GRANT SELECT ON tailnet.tunnels TO tailnet_writer;
CREATE OR REPLACE VIEW tailnet.grants AS SELECT client_id, agent_id, now() AS created_at FROM tailnet_private.grants;
UPDATE pg_extension SET extcondition[1] = 'WHERE false' WHERE extname = 'pg_tailnet';
DROP INDEX tailnet_private.grants_agent_id_client_id;
CREATE INDEX another ON tailnet_private.grants (created_at);
SELECT * FROM changed;
ROLLBACK;

DROP VIEW changed;
DROP TABLE before;
DROP VIEW extension_objects;
