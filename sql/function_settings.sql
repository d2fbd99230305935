-- The settings of every function, and no access for PUBLIC. This file must be the last one, because it treats all functions
-- that exist.

CREATE FUNCTION tailnet_private.pin_function(f regprocedure) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE pg_catalog.format(
        'ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, pg_temp', f);
    -- Batches are small compared to the tables, so each entry must be looked up in an index. The planner has no statistics
    -- of an unnest, and would sooner or later hash or scan a whole table for a few hundred ids. Such short statements run
    -- faster than JIT could compile them. Joins are written in the order in which they should run: to try the others takes the
    -- planner longer than such a statement runs, and the first executions of each connection are planned anew.
    EXECUTE pg_catalog.format(
        'ALTER FUNCTION %s SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off '
        'SET plan_cache_mode = force_generic_plan SET jit = off SET join_collapse_limit = 1', f);
    EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
END
$$;
COMMENT ON FUNCTION tailnet_private.pin_function(regprocedure) IS 'Pins the settings of a function of the extension, and revokes it from PUBLIC';

DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace IN ('tailnet'::regnamespace, 'tailnet_private'::regnamespace)
          -- These run for each row. To apply settings would cost more than the functions themselves.
          AND p.oid NOT IN ('tailnet_private.connection_key(uuid, uuid, text)'::regprocedure,
                            'tailnet_private.prove_session(bytea, integer, uuid, uuid, uuid, integer, bigint)'::regprocedure,
                            'tailnet_private.resume_secret(text)'::regprocedure,
                            'tailnet_private.resumed_peer(bytea, text, uuid, uuid)'::regprocedure,
                            'tailnet_private.resume_token(bytea, integer, uuid, uuid, uuid)'::regprocedure)
    LOOP
        PERFORM tailnet_private.pin_function(f);
    END LOOP;
END
$$;
