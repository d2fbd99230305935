-- Columns of views that have no comment get the comment of the table's column. A column such as peer_id or src_id may have the
-- name id or src in the table.

DO $$
DECLARE
    col record;
BEGIN
    FOR col IN
        SELECT v.relname, a.attname, pg_catalog.col_description(t.attrelid, t.attnum) AS text
        FROM pg_catalog.pg_class v
        JOIN pg_catalog.pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0
        CROSS JOIN LATERAL (VALUES (1, a.attname), (2, pg_catalog.regexp_replace(a.attname, '_id$', '')),
                                   (3, pg_catalog.regexp_replace(a.attname, '^.*_id$', 'id'))) n(preference, name)
        JOIN pg_catalog.pg_class c ON c.relnamespace = 'tailnet_private'::regnamespace
            AND c.relname = CASE v.relname WHEN 'agents' THEN 'agent_connections' ELSE v.relname END
        JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid AND t.attnum > 0 AND t.attname = n.name
        WHERE v.relnamespace = 'tailnet'::regnamespace AND v.relkind = 'v'
          AND pg_catalog.col_description(v.oid, a.attnum) IS NULL
        -- The last of several comments stays, so the best name comes last.
        ORDER BY v.relname, a.attnum, n.preference DESC
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON COLUMN tailnet.%I.%I IS %L', col.relname, col.attname, col.text);
    END LOOP;
END
$$;
