-- Events of connections are merged, whatever their order (behaviours B63 and B65).
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
\set k1 '00000000-0000-4000-8000-000000000d01'
\set w1 '00000000-0000-4000-8000-000000000e01'
CREATE FUNCTION pg_temp.event(agent uuid, fields text) RETURNS json LANGUAGE sql AS $$
    SELECT (jsonb_build_object('agent_id', agent, 'type', 'ssh') || fields::jsonb)::json
$$;
CREATE FUNCTION pg_temp.shown() RETURNS TABLE (
    agent text, workspace text, type text, code int, ip inet, connect time, disconnect time, reason text) LANGUAGE sql AS $$
    SELECT agent_name, workspace_name, type, code, ip, (connect_time AT TIME ZONE 'UTC')::time,
           (disconnect_time AT TIME ZONE 'UTC')::time, disconnect_reason
    FROM tailnet.connection_logs ORDER BY started_at, code
$$;
SELECT pg_temp.event(:a1, format('{"connection_id":"%s","workspace_id":"%s","workspace_name":"dev","owner":"ann","ip":"10.0.0.9","connect_time":"2026-01-01T10:00:00Z"}', :'k1', :'w1')) AS connect,
    pg_temp.event(:a1, format('{"connection_id":"%s","workspace_id":"%s","code":3,"disconnect_time":"2026-01-01T11:00:00Z","disconnect_reason":"idle"}', :'k1', :'w1')) AS gone,
    pg_temp.event(:a1, format('{"connection_id":"%s","workspace_id":"%s","code":0,"disconnect_time":"2026-01-01T11:30:00Z","disconnect_reason":"late"}', :'k1', :'w1')) AS late \gset

-- A connect, then two disconnects: the first disconnect counts.
SET ROLE tailnet_writer;
SELECT tailnet.upsert_connection_logs(json_build_array(:'connect'::json));
RESET ROLE;
SELECT * FROM pg_temp.shown();
SELECT tailnet.upsert_connection_logs(json_build_array(:'late'::json)), tailnet.upsert_connection_logs(json_build_array(:'gone'::json));
SELECT * FROM pg_temp.shown();
-- The same events in another order, in one batch, and repeated.
TRUNCATE tailnet_private.connection_logs;
SELECT tailnet.upsert_connection_logs(json_build_array(:'gone'::json, :'connect'::json, :'late'::json, :'gone'::json));
SELECT * FROM pg_temp.shown();
SELECT tailnet.upsert_connection_logs(json_build_array(:'late'::json, :'connect'::json));
SELECT * FROM pg_temp.shown();

-- Events without a connection id are never merged. A repeated event with the same id makes no second row.
TRUNCATE tailnet_private.connection_logs;
SELECT tailnet.upsert_connection_logs(json_build_array(e, e)), tailnet.upsert_connection_logs(json_build_array(e))
FROM pg_temp.event(:a1, '{"type":"workspace_app","slug_or_port":"ide","code":200,"connect_time":"2026-01-01T10:00:00Z"}') e;
SELECT tailnet.upsert_connection_logs(json_build_array(e, e)), tailnet.upsert_connection_logs(json_build_array(e)) AS again
FROM pg_temp.event(:a1, '{"id":"00000000-0000-4000-8000-000000000c99","type":"port_forwarding","slug_or_port":"8080","connect_time":"2026-01-01T12:00:00Z"}') e;
SELECT * FROM pg_temp.shown();

-- Some connections of a batch have a row already: all events count, and each connection has one row.
TRUNCATE tailnet_private.connection_logs;
CREATE FUNCTION pg_temp.batch(agent uuid, owner text, VARIADIC numbers int[]) RETURNS json LANGUAGE sql AS $$
    SELECT json_agg(pg_temp.event(agent, format(
        '{"connection_id":"00000000-0000-4000-8000-00000000%s","owner":"%s","connect_time":"2026-01-01T10:00:00Z"}',
        lpad(n::text, 4, '0'), owner)) ORDER BY n) FROM unnest(numbers) n
$$;
CREATE FUNCTION pg_temp.owners() RETURNS TABLE (owner text, connections bigint) LANGUAGE sql AS $$
    SELECT owner, count(*) FROM tailnet.connection_logs GROUP BY owner ORDER BY owner
$$;
SELECT tailnet.upsert_connection_logs(pg_temp.batch(:a1, 'eve', 1001, 1002, 1003)),
    tailnet.upsert_connection_logs(pg_temp.batch(:a1, 'bob', 1000, 1003, 1004, 1002)) AS some,
    tailnet.upsert_connection_logs(pg_temp.batch(:a1, 'fay', 1000, 1003, 1004, 1002)) AS again;
SELECT * FROM pg_temp.owners();
-- ... also in a longer transaction, and after a part of it is rolled back.
BEGIN;
SELECT tailnet.upsert_connection_logs(pg_temp.batch(:a1, 'ann', 1005, 1004));
SAVEPOINT before;
SELECT tailnet.upsert_connection_logs(pg_temp.batch(:a1, 'ann', 1003, 1006));
SELECT * FROM pg_temp.owners();
ROLLBACK TO before;
SELECT * FROM pg_temp.owners();
ROLLBACK;
-- ... and when a write fails for another reason: nothing of the batch is written, and the database session goes on.
\set VERBOSITY terse
ALTER TABLE tailnet_private.connection_logs ADD CONSTRAINT sober CHECK (owner <> 'dan');
SELECT tailnet.upsert_connection_logs(pg_temp.batch(:a1, 'cid', 1007)), tailnet.upsert_connection_logs(pg_temp.batch(:a1, 'dan', 1008));
CREATE UNIQUE INDEX connection_logs_owner ON tailnet_private.connection_logs (owner, connect_time) WHERE owner = 'cid';
SELECT tailnet.upsert_connection_logs(pg_temp.batch(:a1, 'cid', 1007, 1008));
DROP INDEX tailnet_private.connection_logs_owner;
ALTER TABLE tailnet_private.connection_logs DROP CONSTRAINT sober;
\set VERBOSITY default
SELECT tailnet.upsert_connection_logs(pg_temp.batch(:a1, 'cid', 1007)), count(*) FROM tailnet.connection_logs;

-- Another workspace or agent name makes another connection. An absent one is a value like any other.
TRUNCATE tailnet_private.connection_logs;
SELECT tailnet.upsert_connection_logs(json_agg(pg_temp.event(:a1, format(
    '{"connection_id":"%s","workspace_id":%s,"agent_name":%s,"connect_time":"2026-01-01T10:00:00Z"}', :'k1', w, n))))
FROM unnest(ARRAY['null', '"' || :'w1' || '"']) w, unnest(ARRAY['null', '"other"']) n, generate_series(1, 2);
SELECT agent_name, workspace_id IS NULL AS absent FROM tailnet.connection_logs ORDER BY 1, 2;
-- ... An absent workspace and the nil uuid are the same, as are an absent name and an empty one. A backslash is a character
-- like any other.
TRUNCATE tailnet_private.connection_logs;
UPDATE tailnet_private.identities SET name = NULL WHERE id = :a2;
SELECT tailnet.upsert_connection_logs(json_agg(pg_temp.event(:a2, format(
    '{"connection_id":"%s","workspace_id":%s,"agent_name":%s,"connect_time":"2026-01-01T10:00:00Z"}', :'k1', w, n)))),
    tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:a2, format(
    '{"connection_id":"%s","agent_name":"\\\\x00","connect_time":"2026-01-01T10:00:00Z"}', :'k1')))) AS backslash
FROM unnest(ARRAY['null', '"00000000-0000-0000-0000-000000000000"']) w, unnest(ARRAY['null', '""']) n;
SELECT count(*) FROM tailnet.connection_logs;
-- A second row of the same connection cannot be written, not even with INSERT.
INSERT INTO tailnet_private.connection_logs (network_id, connection_id, agent_id, type, connect_time)
SELECT network_id, connection_id, agent_id, type, connect_time FROM tailnet_private.connection_logs WHERE agent_name IS NULL OR agent_name = '';
TRUNCATE tailnet_private.connection_logs;
SELECT tailnet.upsert_connection_logs(json_agg(pg_temp.event(:a1, format(
    '{"connection_id":"%s","workspace_id":%s,"agent_name":%s,"connect_time":"2026-01-01T10:00:00Z"}', :'k1', w, n))))
FROM unnest(ARRAY['null', '"' || :'w1' || '"']) w, unnest(ARRAY['null', '"other"']) n;
-- An agent cannot change the connection of another agent, even if it knows its connection id.
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:a2, format(
    '{"connection_id":"%s","agent_name":"a1","connect_time":"2026-01-01T10:00:00Z","owner":"mallory"}', :'k1'))));
SELECT count(*) FROM tailnet.connection_logs WHERE owner = 'mallory';

-- ... not even in the same batch. The connection is then that of the smaller agent id.
SELECT tailnet.upsert_connection_logs(json_agg(pg_temp.event(a, format(
    '{"connection_id":"00000000-0000-4000-8000-000000000d02","agent_name":"a1","connect_time":"2026-01-01T10:00:00Z","owner":"%s"}', o))))
FROM (VALUES (:a2, 'alice'), (:a1, 'bob'), (:a1, 'carol')) v(a, o);
SELECT agent_id, owner FROM tailnet.connection_logs WHERE connection_id = '00000000-0000-4000-8000-000000000d02';
DELETE FROM tailnet_private.connection_logs WHERE connection_id = '00000000-0000-4000-8000-000000000d02';

-- A connection may end after its agent is deleted. A new one of that agent cannot begin.
SELECT tailnet.create_peer('n1', 'agent', 'gone', :nobody) \g /dev/null
SELECT pg_temp.event(:nobody, '{"connection_id":"00000000-0000-4000-8000-000000000d03","agent_name":"gone","connect_time":"2026-01-01T12:00:00Z"}') AS begin,
    pg_temp.event(:nobody, '{"connection_id":"00000000-0000-4000-8000-000000000d03","agent_name":"gone","disconnect_time":"2026-01-01T13:00:00Z"}') AS end,
    pg_temp.event(:nobody, '{"connection_id":"00000000-0000-4000-8000-000000000d04","agent_name":"gone","disconnect_time":"2026-01-01T13:00:00Z"}') AS other \gset
SELECT tailnet.upsert_connection_logs(json_build_array(:'begin'::json));
DELETE FROM tailnet_private.identities WHERE id = :nobody;
SELECT tailnet.upsert_connection_logs(json_build_array(:'end'::json));
SELECT tailnet.upsert_connection_logs(json_build_array(:'begin'::json, :'other'::json));
SELECT connect_time < disconnect_time AS ended FROM tailnet.connection_logs WHERE agent_name = 'gone';
DELETE FROM tailnet_private.connection_logs WHERE agent_name = 'gone';

-- A time in any form means what it means in Postgres. Tested with several forms, and with days over centuries.
CREATE FUNCTION pg_temp.times(VARIADIC times text[]) RETURNS integer LANGUAGE sql AS $$
    SELECT tailnet.upsert_connection_logs(json_agg(pg_temp.event(id, json_build_object('user_agent', t, 'connect_time', t)::text)))
    FROM unnest(times) t, tailnet_private.identities WHERE name = 'a1'
$$;
SELECT pg_temp.times('0001-01-01T00:00:00Z', '1999-12-31T23:59:59.000001Z', '2024-02-29T23:59:59.9Z', '9999-12-31T23:59:59.999999Z',
    '2026-01-31T10:00:00.1234567Z', '2026-01-31T10:00:00.Z', '2026-01-31T10:00:00+02:00', '2026-01-31T10:00:00z', '2026-01-31 10:00',
    '2026-06-30T23:59:60Z', '2026-12-31T24:00:00Z', '0044-03-15T12:00:00Z BC'),
    pg_temp.times(VARIADIC array_agg(to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))) AS days
FROM generate_series(timestamptz '1600-01-01 00:00Z', '2410-01-01 00:00Z', '83 days 05:07:11.000013') t;
SELECT count(*), count(*) FILTER (WHERE connect_time <> user_agent::timestamptz) AS different
FROM tailnet.connection_logs WHERE user_agent IS NOT NULL;
SELECT pg_temp.times('2023-02-29T00:00:00Z');
SELECT pg_temp.times('2026-00-01T00:00:00Z');
SELECT pg_temp.times('2026-01-01T25:00:00Z');
SELECT pg_temp.times('2026-01-01T00:00:0:Z');
DELETE FROM tailnet_private.connection_logs WHERE user_agent IS NOT NULL;

-- A row keeps the name that the agent had. Old rows are dropped by time.
UPDATE tailnet_private.identities SET name = 'renamed' WHERE id = :a1;
SELECT DISTINCT agent_name, network FROM tailnet.connection_logs ORDER BY 1;
SELECT tailnet.drop_connection_logs('2026-01-01 10:00Z'), tailnet.drop_connection_logs('2026-01-01 10:00:01Z') AS later;
SELECT tailnet.drop_connection_logs(NULL);

-- Calls that are refused: the error has the place of the event, and nothing of the batch is written.
SELECT tailnet.upsert_connection_logs(NULL);
SELECT tailnet.upsert_connection_logs('{}');
SELECT tailnet.upsert_connection_logs('[1]');
SELECT tailnet.upsert_connection_logs(json_build_array(:'connect'::json, pg_temp.event(:nobody, '{"connect_time":"2026-01-01T10:00:00Z"}')));
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:c1, '{"connect_time":"2026-01-01T10:00:00Z"}')));
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(NULL, '{"connect_time":"2026-01-01T10:00:00Z"}')));
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:a1, '{"type":"telnet","connect_time":"2026-01-01T10:00:00Z"}')));
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:a1, '{}')));
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:a1, '{"connect_time":"infinity"}')));
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:a1, '{"connect_time":"2026-01-01T10:00:00Z","disconnect_reason":"x"}')));
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:a1, '{"connect_time":"2026-01-01T10:00:00Z","reason":"x"}')));
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:a1, '{"connect_time":"soon"}')));
SELECT tailnet.upsert_connection_logs(json_build_array(pg_temp.event(:a1, '{"connect_time":"2026-01-01T10:00:00Z","ip":"10.0.0.256"}')));
SELECT tailnet.upsert_connection_logs(format('[{"agent_id":"%s","type":"ssh","connect_time":"2026-01-01","owner":"a\u0000b"}]', :a1));
SELECT tailnet.upsert_connection_logs('[{"type":"ssh","type":"ssh"}]');
SELECT tailnet.upsert_connection_logs('[[null]]');
SELECT tailnet.upsert_connection_logs('[');
SELECT tailnet.upsert_connection_logs('[]');
SELECT count(*) FROM tailnet.connection_logs;
