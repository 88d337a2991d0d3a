-- +goose NO TRANSACTION
-- +goose Up

-- Whose a record is, and which accounts one person has: an order to link, and who comes back
-- after a deletion, read every person. A hash is a third of a B-tree. Stopped half way, it
-- begins again.
DROP INDEX CONCURRENTLY IF EXISTS persons_by_label;
CREATE INDEX CONCURRENTLY persons_by_label ON persons USING hash (label);
DROP INDEX CONCURRENTLY IF EXISTS persons_by_id;
CREATE INDEX CONCURRENTLY persons_by_id ON persons USING hash (id);

-- Requests that wait are read in the order of their labels, page by page. It was by day. For
-- NULLS FIRST see below.
DROP INDEX CONCURRENTLY IF EXISTS erasures_pending;
CREATE INDEX CONCURRENTLY erasures_pending ON erasures (label NULLS FIRST) WHERE leaf IS NULL;

-- Rows that are fresh (00029), in the order in which they are written again, and what expired:
-- each is found without looking at the rest. NULLS FIRST, which a primary key is not: so no plan
-- reads that one for them, and with it everybody.
CREATE INDEX CONCURRENTLY IF NOT EXISTS records_fresh ON records (record_place(key_group, label) NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS persons_fresh ON persons (fingerprint NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS pseudonyms_fresh ON pseudonyms (handle NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS handles_fresh ON handles (place NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS notes_fresh ON notes (place NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS erasures_fresh ON erasures (label NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS reviews_fresh ON reviews (id NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_fresh ON sessions (handle NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS claims_fresh ON claims (place NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS claim_counts_fresh ON claim_counts (id NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS claims_told_fresh ON claims_told (place NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS addresses_fresh ON addresses (place NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS mails_fresh ON mails (id NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS notice_codes_fresh ON notice_codes (hash NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS objections_fresh ON objections (case_id NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS openid_rows_fresh ON openid_rows (id NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS openid_used_fresh ON openid_used (key NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS openid_entries_fresh ON openid_entries (slot NULLS FIRST) WHERE fresh IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_expired ON sessions (expires);
CREATE INDEX CONCURRENTLY IF NOT EXISTS claims_expired ON claims (expires);
CREATE INDEX CONCURRENTLY IF NOT EXISTS claim_counts_expired ON claim_counts (expires);
CREATE INDEX CONCURRENTLY IF NOT EXISTS openid_entries_expired ON openid_entries (expires);
CREATE INDEX CONCURRENTLY IF NOT EXISTS openid_used_expired ON openid_used (expires);
CREATE INDEX CONCURRENTLY IF NOT EXISTS openid_rows_expired ON openid_rows (expires);
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_used_expired ON requests_used (expires);
CREATE INDEX CONCURRENTLY IF NOT EXISTS openid_rows_ended_late ON openid_rows (id) WHERE kind = 'grant' AND ended AND fresh IS NOT NULL;

-- Leaves and refusals come in by the thousand: what guards a row asks for all of a
-- statement at once. Functions and triggers change together.
-- +goose StatementBegin
DO $do$ BEGIN
  CREATE OR REPLACE FUNCTION next_leaf() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
DECLARE first bigint; last bigint; n bigint;
BEGIN
  SELECT min(index), max(index), count(*) INTO first, last, n FROM entered;
  IF last - first + 1 <> n OR first > 0 AND NOT EXISTS (SELECT FROM log_leaves WHERE index = first - 1) THEN
    RAISE EXCEPTION 'gap' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_leaves_gap';
  END IF;
  RETURN NULL;
END $$;
  CREATE OR REPLACE FUNCTION keeping_leaf() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF current_user = 'penname_keeping' AND EXISTS (SELECT FROM entered WHERE convert_from(leaf, 'UTF8')::json ->> 'kind' IS DISTINCT FROM 'erased') THEN
    RAISE EXCEPTION 'kind' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_leaves_keeping';
  END IF;
  RETURN NULL;
END $$;
  CREATE OR REPLACE TRIGGER next_leaf AFTER INSERT ON log_leaves REFERENCING NEW TABLE AS entered FOR EACH STATEMENT EXECUTE FUNCTION next_leaf();
  CREATE OR REPLACE TRIGGER keeping_leaf AFTER INSERT ON log_leaves REFERENCING NEW TABLE AS entered FOR EACH STATEMENT EXECUTE FUNCTION keeping_leaf();
END $do$;
-- +goose StatementEnd
