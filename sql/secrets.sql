-- The secrets with which the extension proves that it gave a session number. This table is logged, because sessions outlive a
-- crash of Postgres.
--
-- A proxy names its sessions by number. The number that it got from tailnet.authenticate comes with a proof: a MAC over the
-- number, the peer and the key. Without it a call could take any number, and lock the peer out for good with the highest one.

CREATE TABLE tailnet_private.secrets (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    secret bytea NOT NULL CHECK (pg_catalog.length(secret) = 32),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE tailnet_private.secrets IS 'The secrets that prove session numbers. The newest proves new sessions, the others those that live';
COMMENT ON COLUMN tailnet_private.secrets.number IS 'A proof names its secret by this number';
COMMENT ON COLUMN tailnet_private.secrets.secret IS 'The key of HMAC-SHA-256, with 244 random bits';
COMMENT ON COLUMN tailnet_private.secrets.created_at IS 'When it was made, by the clock of the database';
COMMENT ON SEQUENCE tailnet_private.secrets_number_seq IS 'The numbers of the secrets';
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.secrets', '');
SELECT pg_catalog.pg_extension_config_dump('tailnet_private.secrets_number_seq', '');

CREATE FUNCTION tailnet_private.prove_session(
    secret bytea, number integer, network uuid, peer uuid, key uuid, token integer, session bigint) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prove_session_wrapper';
COMMENT ON FUNCTION tailnet_private.prove_session(bytea, integer, uuid, uuid, uuid, integer, bigint) IS 'The proof that this peer was given this session number: the number of the secret, the key and token that it came with (nil and 0: its own), and a MAC';
REVOKE ALL ON FUNCTION tailnet_private.prove_session(bytea, integer, uuid, uuid, uuid, integer, bigint) FROM PUBLIC;

CREATE FUNCTION tailnet.rotate_secret(forget boolean DEFAULT false) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    made integer;
BEGIN
    IF forget IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument forget is NULL, expected true or false';
    END IF;
    INSERT INTO tailnet_private.secrets AS s (secret)
    VALUES (pg_catalog.uuid_send(pg_catalog.gen_random_uuid()) || pg_catalog.uuid_send(pg_catalog.gen_random_uuid()))
    RETURNING s.number INTO made;
    IF forget THEN
        DELETE FROM tailnet_private.secrets s WHERE s.number <> made;
    END IF;
    RETURN made;
END
$$;
COMMENT ON FUNCTION tailnet.rotate_secret(boolean) IS 'Makes the secret that proves new sessions from now on, and returns its number. With forget, earlier ones are deleted: sessions that they prove are not restored, and their peers connect again';
