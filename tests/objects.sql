-- What the extension made in this database: a row for each object, with what the catalogs say of it. It does not depend
-- on the order in which they were made.
CREATE VIEW extension_objects (object, definition) AS
WITH member AS (
    SELECT classid, objid
    FROM pg_depend
    WHERE deptype = 'e'
      AND refclassid = 'pg_extension'::regclass
      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_tailnet')
), described AS (
    SELECT 'function ' || p.oid::regprocedure AS object, pg_get_functiondef(p.oid) AS definition, p.proacl AS acl,
        obj_description(p.oid, 'pg_proc') AS comment
    FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND objid = p.oid

    UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END || c.oid::regclass,
        concat_ws(E'\n', c.relpersistence, c.reloptions,
            CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END,
            (SELECT format('%s %s %s', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement)
             FROM pg_sequence s WHERE s.seqrelid = c.oid)),
        c.relacl, obj_description(c.oid, 'pg_class')
    FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid

    UNION ALL
    SELECT format('column %s of %s', a.attname, c.oid::regclass),
        concat_ws(E'\n', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage, a.attidentity,
            a.attgenerated, pg_get_expr(d.adbin, d.adrelid)),
        a.attacl, col_description(c.oid, a.attnum)
    FROM member
    JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum

    UNION ALL
    SELECT format('constraint %s of %s', k.conname, k.conrelid::regclass), pg_get_constraintdef(k.oid), NULL,
        obj_description(k.oid, 'pg_constraint')
    FROM member JOIN pg_constraint k ON classid = 'pg_class'::regclass AND objid = k.conrelid

    UNION ALL
    SELECT 'index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid), NULL, obj_description(i.indexrelid, 'pg_class')
    FROM member JOIN pg_index i ON classid = 'pg_class'::regclass AND objid = i.indrelid

    UNION ALL
    SELECT format('trigger %s of %s', t.tgname, t.tgrelid::regclass), pg_get_triggerdef(t.oid), NULL,
        obj_description(t.oid, 'pg_trigger')
    FROM member JOIN pg_trigger t ON classid = 'pg_class'::regclass AND objid = t.tgrelid AND NOT t.tgisinternal

    UNION ALL
    SELECT 'schema ' || n.oid::regnamespace, '', n.nspacl, obj_description(n.oid, 'pg_namespace')
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_tailnet'

    UNION ALL
    SELECT 'extension ' || extname,
        (SELECT string_agg(format('%s %s', config::regclass, condition), E'\n' ORDER BY config::regclass::text)
         FROM unnest(extconfig, extcondition) dumped (config, condition)),
        NULL, obj_description(oid, 'pg_extension')
    FROM pg_extension
    WHERE extname = 'pg_tailnet'

    UNION ALL
    SELECT o.type || ' ' || o.identity, '', n.nspacl, obj_description(objid, classid::regclass::name)
    FROM member
    CROSS JOIN LATERAL pg_identify_object(classid, objid, 0) o
    LEFT JOIN pg_namespace n ON classid = 'pg_namespace'::regclass AND objid = n.oid
    WHERE classid NOT IN ('pg_proc'::regclass, 'pg_class'::regclass)
)
SELECT object,
    concat_ws(E'\n', definition, comment, (SELECT string_agg(item::text, ' ' ORDER BY item::text) FROM unnest(acl) item))
FROM described;
