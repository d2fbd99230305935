-- Views are sent in the log, in pages.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
SELECT pg_temp.attach_peers(:'x', ARRAY[:b1], '{1}'), pg_temp.attach_peers(:'y', ARRAY[:a1, :a2, :c1], '{2,3,4}'),
    tailnet.bind_peers(:'y', ARRAY[:a1, :a2], '{2,3}', ARRAY['{"key":"a1"}', '{"key":"a2"}']),
    tailnet.open_tunnels(:'x', ARRAY[:b1, :b1, :b1, :b1], '{1,1,1,1}', ARRAY[:a1, :a2, :c1, :c2]),
    tailnet.open_tunnels(:'y', ARRAY[:c1], '{4}', ARRAY[:a1]), tailnet.lose_peers(:'y', ARRAY[:a2], '{3}') \g /dev/null
SELECT pg_temp.told('x'), pg_temp.told('y') \g /dev/null

-- A view has all partners in the order of keys, with their bindings, also those without one. Only the caller is told.
SELECT tailnet.view_peers(:'x', ARRAY[:b1], '{1}', '{NULL}');
SELECT pg_temp.told('x');
SELECT pg_temp.told('y');
-- The flags tell which end opened the tunnel; both ends may have opened one.
SELECT tailnet.view_peers(:'y', ARRAY[:a1, :c1], '{2,4}', '{NULL,NULL}');
SELECT pg_temp.told('y');

-- Each page says which keys it covers. The last page has no end.
SET tailnet.view_partners = 3;
SELECT pg_temp.attach_peers(:'x', ARRAY[:b1], '{5}');
SELECT pg_temp.told('x');
SELECT tailnet.view_peers(:'x', ARRAY[:b1], '{5}', ARRAY[:c1]);
SELECT pg_temp.told('x');
-- The sessions of a call share the page size, down to one partner a page.
SELECT tailnet.view_peers(:'x', array_fill(:b1, '{4}'), '{5,5,5,5}', ARRAY[NULL, :a1, :a2, :c2]);
SELECT pg_temp.told('x');
-- A page that is exactly full is the last one.
SET tailnet.view_partners = 4;
SELECT tailnet.view_peers(:'x', ARRAY[:b1], '{5}', '{NULL}');
SELECT pg_temp.told('x')::json #> '{view,until}' IS NULL AS last;
SET tailnet.view_partners = 0;
RESET tailnet.view_partners;

-- Sessions that are not attached get no view.
SELECT tailnet.view_peers(:'x', ARRAY[:b1, :a1, :nobody], '{1,2,1}', '{NULL,NULL,NULL}');
SELECT pg_temp.told('x');
