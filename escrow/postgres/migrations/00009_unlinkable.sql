-- +goose Up

-- Rows of pen names and of sign-ins say nothing of whose they are: names are keyed
-- values, and what else they hold is sealed, under a key that is not in here
-- (RowKey). Order, transaction numbers and the write-ahead log are then about nobody.

-- For the disclosing side, wrapped by the key service: only that side opens it.
CREATE TABLE row_key (
  one     boolean PRIMARY KEY DEFAULT true CHECK (one),
  wrapped text NOT NULL CHECK (octet_length(wrapped) BETWEEN 1 AND 1024)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON row_key FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON row_key EXECUTE FUNCTION never();

-- Pen names that were made before are hidden when the issuing side starts.
ALTER TABLE pseudonyms RENAME TO pseudonyms_named;
ALTER INDEX pseudonyms_pkey RENAME TO pseudonyms_named_pkey;
DROP TRIGGER no_delete ON pseudonyms_named; -- by hide() alone: nobody has the right

-- A pen name has one row for each record that its person had, each with a handle of
-- its own, so that who deleted themself and came back is not seen.
CREATE TABLE pseudonyms (
  handle bytea PRIMARY KEY CHECK (octet_length(handle) = 16),
  link   text  NOT NULL CHECK (octet_length(link) BETWEEN 1 AND 1024),
  hidden bytea NOT NULL CHECK (octet_length(hidden) BETWEEN 92 AND 348), -- commitment, platform
  day    date  NOT NULL CHECK (isfinite(day))
);
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON pseudonyms EXECUTE FUNCTION never();
CREATE TRIGGER no_delete BEFORE DELETE ON pseudonyms FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_change BEFORE UPDATE ON pseudonyms FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION never();

-- hide moves pen names to their hidden rows. A link stays what it is.
-- +goose StatementBegin
CREATE FUNCTION hide(names text[], commitments bytea[], handles bytea[], hidden bytea[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = penname, pg_temp
BEGIN ATOMIC
  WITH gone AS (
    DELETE FROM pseudonyms_named p USING unnest(names, commitments, handles, hidden) h (name, commitment, handle, hidden)
    WHERE p.pseudonym = h.name AND p.commitment = h.commitment RETURNING h.handle, p.link, h.hidden, p.day)
  INSERT INTO pseudonyms (handle, link, hidden, day) SELECT g.handle, g.link, g.hidden, g.day FROM gone g ORDER BY g.handle;
END;
-- +goose StatementEnd

-- Protocol state: who was signed in signs in once more.
DELETE FROM openid_rows;
DELETE FROM openid_used;
DROP TABLE openid_entries;
-- ends is the moment from which on what was issued under a grant is withdrawn. Who
-- leaves every platform does so at another moment at each.
ALTER TABLE openid_rows ADD COLUMN ends timestamptz CHECK (isfinite(ends));
CREATE INDEX openid_rows_ended ON openid_rows (id) WHERE kind = 'grant' AND (ended OR ends IS NOT NULL);
CREATE TABLE openid_entries (
  slot     bytea PRIMARY KEY CHECK (octet_length(slot) = 32), -- keyed: list and index
  place    bytea NOT NULL CHECK (octet_length(place) = 48),   -- sealed: the same
  grant_id bytea NOT NULL CHECK (octet_length(grant_id) = 32),
  expires  timestamptz NOT NULL CHECK (isfinite(expires) AND expires = date_trunc('hour', expires, 'UTC'))
);
CREATE INDEX openid_entries_by_grant ON openid_entries (grant_id);

-- Erasures are put into order like the rest (see 00001): mix() writes rows again as
-- they are.
DROP TRIGGER moves ON erasures;
CREATE TRIGGER moves BEFORE INSERT ON erasures FOR EACH ROW EXECUTE FUNCTION erasure_moves();
CREATE TRIGGER moves_on BEFORE UPDATE ON erasures FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION erasure_moves();
