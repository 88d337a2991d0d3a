-- +goose NO TRANSACTION
-- +goose Up

-- Housekeeping never makes a request wait, and costs by what is new, not by everybody.

-- What a row's place in its file and the transaction number in its header (xmin) would tell
-- is taken away by mix_some: it writes the rows of a day again, in the order of their random
-- keys, some at a time. Records it orders by their groups first, which each of them tells: so
-- that a rotation finds its group together. fresh is until when: the end of the day on which a row was written,
-- or of the hour where the row says the hour; NULL: it is done. So neither tells more than
-- that. Rows of before are mixed already, see freshen below.
ALTER TABLE records ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS records_fresh_check, ADD CONSTRAINT records_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE persons ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS persons_fresh_check, ADD CONSTRAINT persons_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE pseudonyms ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS pseudonyms_fresh_check, ADD CONSTRAINT pseudonyms_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE handles ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS handles_fresh_check, ADD CONSTRAINT handles_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE notes ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS notes_fresh_check, ADD CONSTRAINT notes_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE erasures ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS erasures_fresh_check, ADD CONSTRAINT erasures_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE reviews ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS reviews_fresh_check, ADD CONSTRAINT reviews_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS sessions_fresh_check, ADD CONSTRAINT sessions_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE claims ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS claims_fresh_check, ADD CONSTRAINT claims_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE claim_counts ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS claim_counts_fresh_check, ADD CONSTRAINT claim_counts_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE claims_told ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS claims_told_fresh_check, ADD CONSTRAINT claims_told_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE addresses ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS addresses_fresh_check, ADD CONSTRAINT addresses_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE mails ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS mails_fresh_check, ADD CONSTRAINT mails_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE notice_codes ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS notice_codes_fresh_check, ADD CONSTRAINT notice_codes_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE objections ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('day', now(), 'UTC') + interval '1 day',
  DROP CONSTRAINT IF EXISTS objections_fresh_check, ADD CONSTRAINT objections_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE openid_rows ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('hour', now(), 'UTC') + interval '1 hour',
  DROP CONSTRAINT IF EXISTS openid_rows_fresh_check, ADD CONSTRAINT openid_rows_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE openid_used ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('hour', now(), 'UTC') + interval '1 hour',
  DROP CONSTRAINT IF EXISTS openid_used_fresh_check, ADD CONSTRAINT openid_used_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE openid_entries ADD COLUMN IF NOT EXISTS fresh timestamptz, ALTER COLUMN fresh SET DEFAULT date_trunc('hour', now(), 'UTC') + interval '1 hour',
  DROP CONSTRAINT IF EXISTS openid_entries_fresh_check, ADD CONSTRAINT openid_entries_fresh_check CHECK (isfinite(fresh)) NOT VALID;
ALTER TABLE records VALIDATE CONSTRAINT records_fresh_check;
ALTER TABLE persons VALIDATE CONSTRAINT persons_fresh_check;
ALTER TABLE pseudonyms VALIDATE CONSTRAINT pseudonyms_fresh_check;
ALTER TABLE handles VALIDATE CONSTRAINT handles_fresh_check;
ALTER TABLE notes VALIDATE CONSTRAINT notes_fresh_check;
ALTER TABLE erasures VALIDATE CONSTRAINT erasures_fresh_check;
ALTER TABLE reviews VALIDATE CONSTRAINT reviews_fresh_check;
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_fresh_check;
ALTER TABLE claims VALIDATE CONSTRAINT claims_fresh_check;
ALTER TABLE claim_counts VALIDATE CONSTRAINT claim_counts_fresh_check;
ALTER TABLE claims_told VALIDATE CONSTRAINT claims_told_fresh_check;
ALTER TABLE addresses VALIDATE CONSTRAINT addresses_fresh_check;
ALTER TABLE mails VALIDATE CONSTRAINT mails_fresh_check;
ALTER TABLE notice_codes VALIDATE CONSTRAINT notice_codes_fresh_check;
ALTER TABLE objections VALIDATE CONSTRAINT objections_fresh_check;
ALTER TABLE openid_rows VALIDATE CONSTRAINT openid_rows_fresh_check;
ALTER TABLE openid_used VALIDATE CONSTRAINT openid_used_fresh_check;
ALTER TABLE openid_entries VALIDATE CONSTRAINT openid_entries_fresh_check;

-- Old versions of rows tell an order to who reads the files. Nothing is cut off at a file's
-- end: that locks the table.
ALTER TABLE records SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE persons SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE pseudonyms SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE handles SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE notes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE erasures SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE reviews SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE sessions SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE claims SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE claim_counts SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE claims_told SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE addresses SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE mails SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE notice_codes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE objections SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE openid_rows SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE openid_used SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);
ALTER TABLE openid_entries SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0, vacuum_truncate = off);

-- A row that is written later is mixed with those of that day.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION written() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  NEW.fresh := date_trunc('day', now(), 'UTC') + interval '1 day';
  RETURN NEW;
END $$;
-- +goose StatementEnd
-- A rotation writes a group's records in the order of their labels, and tells nothing.
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON records FOR EACH ROW WHEN (OLD.fresh IS NULL AND NEW.erased IS DISTINCT FROM OLD.erased) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON persons FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON notes FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON erasures FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON reviews FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON claims FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON claim_counts FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON addresses FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON mails FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON notice_codes FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON objections FOR EACH ROW WHEN (OLD.fresh IS NULL) EXECUTE FUNCTION written();
-- That a sign-in was ended does not show in when it began. It stays fresh for two hours at
-- least, in which status lists name its entries: they look at nothing else.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ended() RETURNS trigger LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'UPDATE' OR NOT EXISTS (SELECT FROM openid_rows r WHERE (r.id, r.kind) = (NEW.id, NEW.kind)) THEN -- else mix_some puts it back
    NEW.fresh := date_trunc('day', now() + interval '2 hours', 'UTC') + interval '1 day';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE OR REPLACE TRIGGER written BEFORE UPDATE ON openid_rows FOR EACH ROW WHEN (OLD.fresh IS NULL AND NOT NEW.ended) EXECUTE FUNCTION written();
CREATE OR REPLACE TRIGGER ended BEFORE UPDATE ON openid_rows FOR EACH ROW WHEN (NEW.ended AND (NOT OLD.ended OR OLD.fresh IS NULL)) EXECUTE FUNCTION ended();
CREATE OR REPLACE TRIGGER ended_first BEFORE INSERT ON openid_rows FOR EACH ROW WHEN (NEW.ended) EXECUTE FUNCTION ended();

-- What must not be deleted is there as it was when the statement ends that deleted it: by
-- mix_some, which stores it again. The arguments are the first column of the key and, if not
-- all rows must stay, which.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE columns text; lost boolean;
BEGIN
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns FROM pg_attribute
    WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped AND attname <> 'fresh';
  EXECUTE format('SELECT EXISTS (SELECT %1$s FROM gone WHERE %2$s EXCEPT ALL SELECT %1$s FROM %3$I WHERE %4$I IN (SELECT %4$I FROM gone))',
    columns, coalesce(TG_ARGV[1], 'true'), TG_TABLE_NAME, TG_ARGV[0]) INTO lost;
  IF lost THEN
    RAISE EXCEPTION 'append-only' USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only';
  END IF;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON records REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stays('label');
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON persons REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stays('fingerprint');
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON pseudonyms REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stays('handle');
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON handles REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stays('place');
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON notes REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stays('place');
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON erasures REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stays('label');
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON reviews REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stays('id');
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON claims_told REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stays('place');
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON objections REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION stays('case_id');
CREATE OR REPLACE TRIGGER no_delete AFTER DELETE ON mails REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
  EXECUTE FUNCTION stays('id', 'case_id IS NOT NULL OR party IS NOT NULL AND done IS NULL');

-- Rows come in at the beginning of their lives, or as the same statement deleted them: a
-- function that is STABLE sees the table as it was before the statement.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION erasure_begins() RETURNS trigger LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF (NEW.cleared IS NOT NULL OR NEW.leaf IS NOT NULL)
     AND NOT EXISTS (SELECT FROM erasures e WHERE e.label = NEW.label AND to_jsonb(e) - 'fresh' = to_jsonb(NEW) - 'fresh') THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'erasures_fixed';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE OR REPLACE TRIGGER moves BEFORE INSERT ON erasures FOR EACH ROW EXECUTE FUNCTION erasure_begins();
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION review_begins() RETURNS trigger LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF (NEW.state <> 'held' OR NEW.objected OR NEW.due IS NOT NULL)
     AND NOT EXISTS (SELECT FROM reviews r WHERE r.id = NEW.id AND to_jsonb(r) - 'fresh' = to_jsonb(NEW) - 'fresh') THEN
    RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'reviews_transition';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE OR REPLACE TRIGGER moves BEFORE INSERT ON reviews FOR EACH ROW EXECUTE FUNCTION review_begins();

-- mix_some writes the next rows of a table behind a key again, most of them at once, and
-- returns the key up to which it went, how many keys those were and how long others waited. Rows
-- whose day (hour) was over a minute before the pass began are then done.
--
-- It deletes and inserts, because an UPDATE would leave rows on the page on which they were
-- made. Nobody writes the table meanwhile: who waits to, has not looked at it yet, and then
-- finds the rows of now. Readers go on, and what an older snapshot sees stays, so that a
-- backup that is running is whole. It leaves the queue of the lock if it does not
-- get it within patience, 40 ms at most, and does not enter it beside a vacuum. Whether it is durable does not matter: the
-- rows are the same either way.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION record_place(key_group int, label text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN lpad(key_group::text, 10, '0') || label;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION mix_some(t text, after text, most int, began timestamptz, patience int) RETURNS TABLE (upto text, n bigint, held interval)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE at oid := to_regclass(format('penname.%I', t)); key text; kind text; place text; columns text; keys text[]; since timestamptz;
BEGIN
  SELECT a.attname, format_type(a.atttypid, NULL) INTO key, kind FROM pg_index i JOIN pg_attribute a ON a.attrelid = at AND a.attnum = i.indkey[0]
    WHERE i.indrelid = at AND i.indisprimary AND EXISTS (SELECT FROM pg_attribute f WHERE f.attrelid = at AND f.attname = 'fresh' AND NOT f.attisdropped);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  place := quote_ident(key);
  IF t = 'records' THEN
    place := 'record_place(key_group, label)';
  END IF;
  PERFORM set_config('enable_seqscan', 'off', true); -- however old the statistics are; see 00030 for NULLS FIRST
  EXECUTE format('SELECT array_agg(k::text) FROM (SELECT %1$s AS k FROM %2$I WHERE fresh IS NOT NULL AND ($1 IS NULL OR %1$s > $1::%3$s) ORDER BY %1$s NULLS FIRST LIMIT $2) o', place, t, kind)
    INTO keys USING after, most;
  IF keys IS NULL THEN
    RETURN;
  ELSIF EXISTS (SELECT FROM pg_locks WHERE locktype = 'relation' AND relation = at AND mode = 'ShareUpdateExclusiveLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) THEN
    RAISE EXCEPTION 'vacuum' USING ERRCODE = 'lock_not_available';
  END IF;
  PERFORM set_config('lock_timeout', least(patience, 40) || 'ms', true), set_config('synchronous_commit', 'off', true);
  EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', t);
  since := clock_timestamp();
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns FROM pg_attribute
    WHERE attrelid = at AND attnum > 0 AND NOT attisdropped AND attname <> 'fresh';
  EXECUTE format('WITH gone AS (DELETE FROM %2$I WHERE %1$s = ANY ($1::%3$s[]) AND fresh IS NOT NULL RETURNING *)
    INSERT INTO %2$I (%4$s, fresh) SELECT %4$s, CASE WHEN fresh > $2 THEN fresh END FROM gone ORDER BY %1$s', place, t, kind, columns)
    USING keys, least(began, now()) - interval '1 minute';
  n := cardinality(keys);
  upto := keys[n];
  held := clock_timestamp() - since;
  RETURN NEXT;
END $$;
-- +goose StatementEnd

-- What was written since the last mix() is fresh, too: those rows share a day (an
-- hour) and have several transaction numbers.
-- +goose StatementBegin
CREATE OR REPLACE PROCEDURE freshen(t text, key text, kind text, era text) LANGUAGE plpgsql AS $$
DECLARE columns text; keys text[]; next int := 1; tries int := 0;
BEGIN
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns FROM pg_attribute
    WHERE attrelid = t::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'fresh';
  EXECUTE format('SELECT array_agg(%1$I::text ORDER BY %1$I) FROM %2$I WHERE fresh IS NULL AND %3$I IN
    (SELECT %3$I FROM %2$I GROUP BY 1 HAVING count(DISTINCT xmin::text) > 1)', key, t, era) INTO keys;
  WHILE next <= coalesce(cardinality(keys), 0) LOOP
    BEGIN
      PERFORM set_config('lock_timeout', '20ms', true);
      EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', t);
      EXECUTE format('WITH gone AS (DELETE FROM %2$I WHERE %1$I = ANY ($1::%3$s[]) AND fresh IS NULL RETURNING *)
        INSERT INTO %2$I (%4$s, fresh) SELECT %4$s, date_trunc(''day'', now(), ''UTC'') + interval ''1 day'' FROM gone ORDER BY %1$I', key, t, kind, columns)
        USING keys[next:next + 199];
      next := next + 200;
      tries := 0;
    EXCEPTION WHEN lock_not_available THEN
      tries := tries + 1;
      IF tries = 600 THEN
        RAISE;
      END IF;
    END;
    COMMIT;
    PERFORM pg_sleep(CASE WHEN tries > 0 THEN 0.1 ELSE 0.01 END);
  END LOOP;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$ BEGIN
  CALL freshen('records', 'label', 'text', 'day');
  CALL freshen('persons', 'fingerprint', 'bytea', 'day');
  CALL freshen('pseudonyms', 'handle', 'bytea', 'day');
  CALL freshen('handles', 'place', 'bytea', 'day');
  CALL freshen('notes', 'place', 'bytea', 'day');
  CALL freshen('erasures', 'label', 'text', 'day');
  CALL freshen('reviews', 'id', 'text', 'day');
  CALL freshen('sessions', 'handle', 'bytea', 'expires');
  CALL freshen('claims', 'place', 'bytea', 'expires');
  CALL freshen('claim_counts', 'id', 'bytea', 'expires');
  CALL freshen('claims_told', 'place', 'bytea', 'day');
  CALL freshen('addresses', 'place', 'bytea', 'day');
  CALL freshen('mails', 'id', 'bytea', 'day');
  CALL freshen('notice_codes', 'hash', 'bytea', 'until');
  CALL freshen('objections', 'case_id', 'text', 'day');
  CALL freshen('openid_rows', 'id', 'bytea', 'expires');
  CALL freshen('openid_used', 'key', 'bytea', 'expires');
  CALL freshen('openid_entries', 'slot', 'bytea', 'expires');
END $$;
-- +goose StatementEnd
UPDATE openid_rows SET ended = true WHERE ended AND fresh IS NULL;
DROP PROCEDURE freshen;

-- When a pass over all rows that are fresh began last, whichever process does it.
CREATE TABLE IF NOT EXISTS passes (
  one   boolean PRIMARY KEY DEFAULT true CHECK (one),
  began timestamptz NOT NULL CHECK (isfinite(began))
);

-- mix_some does their work, and no program that calls them may run beside it.
DROP FUNCTION IF EXISTS mix(), sort(text);
