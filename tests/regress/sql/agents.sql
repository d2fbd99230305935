-- What agents tell of themselves, and what operators tell agents.
\getenv dir PG_ABS_SRCDIR
\set setup :dir /setup.psql
\i :setup
CREATE VIEW shown AS SELECT name, version, directory, lifecycle, lifecycle_at FROM tailnet.agents WHERE network = 'n1' ORDER BY name;

SELECT tailnet.update_agent_states(ARRAY[:a1], '{v2.30}', '{/home/ann}', '{starting}', '{2026-01-02 03:04:05+00}');
SELECT tailnet.update_agent_states(ARRAY[:a2], '{NULL}', '{NULL}', '{ready}', '{2026-01-02 03:04:05+00}');
SELECT * FROM shown;
-- An older state does not replace a later one, and what is not told stays.
SELECT tailnet.update_agent_states(ARRAY[:a1], '{NULL}', '{NULL}', '{ready}', '{2026-01-02 03:05:00+00}');
SELECT tailnet.update_agent_states(ARRAY[:a1], '{NULL}', '{NULL}', '{created}', '{2026-01-01 00:00:00+00}');
SELECT tailnet.update_agent_states(ARRAY[:a1], '{v2.31}', '{NULL}', '{NULL}', '{NULL}');
SELECT * FROM shown;
-- Clients and unknown ids are left out.
SELECT tailnet.update_agent_states(ARRAY[:c1, :nobody], '{x,x}', '{x,x}', '{off,off}', '{now,now}');
SELECT tailnet.update_agent_states('{}', '{}', '{}', '{}', '{}');
SELECT tailnet.update_agent_states(NULL, '{}', '{}', '{}', '{}');

-- Defaults, then what an operator sets.
SELECT * FROM tailnet.agent_info_of(ARRAY[:a1, :c1, :nobody]);
SELECT tailnet.set_agent_info(:a1, 'ann', 'dev', :a2, '/src', '{"EDITOR": "vi"}');
SELECT * FROM tailnet.agent_info_of(ARRAY[:a1]);
SELECT tailnet.set_agent_info(:a1);
SELECT * FROM tailnet.agent_info_of(ARRAY[:a1]);
SELECT tailnet.set_agent_info(:c1);
SELECT tailnet.set_agent_info(:nobody);
SELECT tailnet.set_agent_info(NULL);
SELECT tailnet.set_agent_info(:a1, owner => '');
SELECT tailnet.set_agent_info(:a1, owner => NULL);
SELECT tailnet.set_agent_info(:a1, workspace => '');
SELECT tailnet.set_agent_info(:a1, directory => NULL);
SELECT tailnet.set_agent_info(:a1, environment => '[]');
SELECT tailnet.set_agent_info(:a1, environment => '{"A": 1}');
SELECT tailnet.set_agent_info(:a1, environment => NULL);
DROP VIEW shown;
