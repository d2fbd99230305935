-- Batches that are refused as a whole, with an error that says why. Nothing of them is done.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
\set VERBOSITY sqlstate
SELECT tailnet.attach_peers(:'x', NULL, '{1}', '{p}');
SELECT tailnet.attach_peers(NULL, ARRAY[:a1], '{1}', '{p}');
SELECT tailnet.attach_peers(:'x', ARRAY[:a1], '{}', '{p}');
SELECT tailnet.attach_peers(:'x', array_fill(:a1, '{4097}'), '{}', '{p}');
\set VERBOSITY default
SELECT tailnet.attach_peers(:'x', ARRAY[:a1], NULL, '{p}');
SELECT tailnet.attach_peers(NULL, ARRAY[:a1], '{1}', '{p}');
SELECT tailnet.attach_peers(:'x', ARRAY[:a1, NULL], '{1,2}', '{p,p}');
SELECT tailnet.attach_peers(:'x', ARRAY[:a1], '{1,2}', '{p}');
SELECT tailnet.attach_peers(:'x', array_fill(:a1, '{4097}'), array_fill(1::bigint, '{4097}'), '{p}');
SELECT tailnet.attach_peers(:'x', ARRAY[:a1], '{1}', '{p}', '{}');
SELECT tailnet.restore_peers(:'x', ARRAY[:a1], '{1}', '{p}', NULL, '{}', '{}');
SELECT tailnet.restore_peers(:'x', ARRAY[:a1], '{1}', '{p}', '{}', '{}', '{}');
SELECT tailnet.restore_peers(:'x', ARRAY[:a1], '{1}', '{p}', '{NULL}', ARRAY[:a1], '{}');
SELECT tailnet.restore_peers(:'x', ARRAY[:a1], '{1}', '{p}', '{NULL}', ARRAY[:a1], '{NULL}');
SELECT tailnet.bind_peers(:'x', ARRAY[:a1], '{1}', '{NULL}');
SELECT tailnet.bind_peers(:'x', ARRAY[:a1], '{1}', '{}');
SELECT tailnet.bind_peers(:'x', ARRAY[:a1], '{1}', NULL);
SELECT tailnet.lose_peers(:'x', ARRAY[:a1], '{NULL}');
SELECT tailnet.attach_peers(:'x', ARRAY[:a1], '{1}', NULL);
SELECT tailnet.attach_peers(:'x', ARRAY[:a1], '{1}', '{NULL}');
SELECT tailnet.attach_peers(:'x', ARRAY[:a1], '{1}', '{p,p}');
SELECT tailnet.disconnect_peers(:'x', NULL, NULL, NULL);
SELECT tailnet.disconnect_peers(:'x', ARRAY[:a1], '{1}', '{}');
SELECT tailnet.open_tunnels(:'x', ARRAY[:a1], '{1}', '{}');
SELECT tailnet.open_tunnels(:'x', ARRAY[:a1], '{1}', '{NULL}');
SELECT tailnet.close_tunnels(:'x', '{}', '{1}', '{}');
SELECT tailnet.ready_for_handshake(:'x', ARRAY[:a1], '{}', ARRAY[:c1]);
SELECT tailnet.view_peers(:'x', ARRAY[:a1], '{1}', '{}');
SELECT tailnet.view_peers(:'x', ARRAY[:a1], '{1}', NULL);

-- A change must see what was committed while it waited, so higher isolation levels are refused.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1], '{1}');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT tailnet.revoke_peer(:a1);
ROLLBACK;

-- Nobody is told of a change that is rolled back.
BEGIN;
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1], '{1}');
ROLLBACK;
SELECT pg_temp.told('x');
SELECT count(*) FROM tailnet.peers;

-- The extension sets timeouts for the locks until the transaction ends, and never makes a timeout longer.
BEGIN;
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1], '{1}');
SHOW lock_timeout;
SHOW idle_in_transaction_session_timeout;
SET LOCAL lock_timeout = '1s';
SELECT pg_temp.attach_peers(:'x', ARRAY[:a1], '{1}');
SHOW lock_timeout;
COMMIT;
SHOW lock_timeout;
