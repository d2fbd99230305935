-- The backend of a LISTEN connection is known, and is ended together with the registration.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup

-- Waits until a backend has ended.
CREATE FUNCTION pg_temp.ended(backend integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..3000 LOOP
        PERFORM pg_stat_clear_snapshot();
        IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = backend) THEN RETURN true; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN false;
END
$$;

SELECT name, listener_pid FROM tailnet.coordinators ORDER BY name;
SELECT tailnet.listen_coordinator(NULL);
SELECT tailnet.listen_coordinator(:nobody);

-- It hears the log of its registration.
SELECT dblink_connect('stuck', 'dbname=' || current_database());
SELECT 1 AS listens FROM dblink('stuck', format('SELECT tailnet.listen_coordinator(%L)::text', :'x')) AS l(t text);
SELECT pid FROM dblink('stuck', 'SELECT pg_backend_pid()') AS p(pid int) \gset
SELECT name, listener_pid = :pid AS is_it FROM tailnet.coordinators ORDER BY name;
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1], '{1}');
SELECT replace(regexp_replace(extra, '^\S+ ', ''), '00000000-0000-4000-8000-0000000000', '') AS events
FROM dblink('stuck', 'SELECT 1') AS sync(one int), LATERAL (SELECT extra FROM dblink_get_notify('stuck') WHERE one = 1) n;

-- The coordinator is expired.
UPDATE tailnet_private.coordinators SET heartbeat_at = heartbeat_at - CASE WHEN name = 'x' THEN interval '10 s' ELSE '0 s' END,
    on_time_since = on_time_since - interval '20 s';
SELECT tailnet.heartbeat_coordinator(:'y', true) AS expired;
SELECT pg_temp.ended(:pid);
SELECT dblink_disconnect('stuck');

-- The coordinator registers again.
SELECT dblink_connect('stuck', 'dbname=' || current_database());
SELECT 1 AS listens FROM dblink('stuck', format('SELECT tailnet.listen_coordinator(%L)::text', :'y')) AS l(t text);
SELECT pid FROM dblink('stuck', 'SELECT pg_backend_pid()') AS p(pid int) \gset
SELECT pg_temp.coordinator('y', '00000000-0000-4000-8000-000000000002') IS NOT NULL AS registered;
SELECT pg_temp.ended(:pid);
SELECT name, listener_pid FROM tailnet.coordinators;
