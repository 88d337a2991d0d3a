-- +goose Up

-- Passkeys, two rows each: one is found by the person and the number of the passkey, and
-- hides its credential's id and word; one by the credential's id, and hides whose it is and
-- the key that judges it. The places are keyed (RowKey), all rows have one length, and none
-- says a day: so neither a row nor their number tells who has a passkey, or how many.
CREATE TABLE passkeys (
  place  bytea PRIMARY KEY CHECK (octet_length(place) = 16),
  hidden bytea NOT NULL CHECK (octet_length(hidden) = 1564),
  fresh  timestamptz DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day' CHECK (isfinite(fresh))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
CREATE INDEX passkeys_fresh ON passkeys (place NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON passkeys EXECUTE FUNCTION never();
CREATE TRIGGER written BEFORE UPDATE ON passkeys FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
-- Of a person's row that is found in no other order than by its place.
ALTER TABLE passkeys ALTER COLUMN hidden SET STORAGE PLAIN;

INSERT INTO side_by_side (version, since, changes) VALUES (32, 31,
  '{+ constraint passkeys_fresh_check of passkeys,
    + constraint passkeys_hidden_check of passkeys,
    + constraint passkeys_pkey of passkeys,
    + constraint passkeys_place_check of passkeys,
    + index passkeys_fresh,
    + trigger no_truncate of passkeys,
    + trigger written of passkeys,
    + penname_issuing passkeys.place INSERT,
    + penname_issuing passkeys.hidden INSERT,
    + penname_issuing passkeys.place SELECT,
    + penname_issuing passkeys.hidden SELECT,
    + penname_issuing passkeys.hidden UPDATE,
    + penname_issuing passkeys DELETE}');
