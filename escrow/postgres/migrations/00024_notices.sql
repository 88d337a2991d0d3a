-- +goose Up

-- Cases whose persons are told before custodians decide: from when they may, and whether
-- nobody can say that the persons could have seen it.
CREATE TABLE notice_first (
  case_id      text COLLATE "C" PRIMARY KEY REFERENCES cases,
  days         smallint NOT NULL CHECK (days BETWEEN 1 AND 365),       -- to object, whole
  tell_by      timestamptz NOT NULL CHECK (isfinite(tell_by)),         -- then they count as not reached
  leaf         bigint UNIQUE REFERENCES log_leaves,                    -- that says so
  reached      boolean,
  approve_from timestamptz CHECK (isfinite(approve_from)),
  CONSTRAINT notice_first_told CHECK (num_nonnulls(leaf, reached, approve_from) IN (0, 3))
);
CREATE INDEX notice_first_untold ON notice_first (case_id) WHERE leaf IS NULL;
CREATE TRIGGER no_delete BEFORE DELETE ON notice_first FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON notice_first EXECUTE FUNCTION never();

-- The days count from a leaf of the case, once.
-- +goose StatementBegin
CREATE FUNCTION tells_once() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.leaf IS NOT NULL THEN
      RAISE EXCEPTION 'told' USING ERRCODE = 'check_violation', CONSTRAINT = 'notice_first_once';
    END IF;
  ELSIF OLD.leaf IS NOT NULL OR (OLD.case_id, OLD.days, OLD.tell_by) IS DISTINCT FROM (NEW.case_id, NEW.days, NEW.tell_by)
     OR NOT EXISTS (SELECT FROM log_leaves g JOIN cases c ON c.id = NEW.case_id JOIN log_leaves f ON f.index = c.recorded_leaf WHERE g.index = NEW.leaf
          AND (convert_from(g.leaf, 'UTF8')::json ->> 'day')::date >= (convert_from(f.leaf, 'UTF8')::json ->> 'day')::date
          AND convert_from(g.leaf, 'UTF8')::json ->> 'kind' = 'told' AND convert_from(g.leaf, 'UTF8')::json ->> 'case' = c.recorded_leaf::text
          AND (convert_from(g.leaf, 'UTF8')::json ->> 'day')::date + NEW.days + 1 = (NEW.approve_from AT TIME ZONE 'UTC')::date
          AND (convert_from(g.leaf, 'UTF8')::json ->> 'code' IS NULL) = NEW.reached) THEN
    RAISE EXCEPTION 'told' USING ERRCODE = 'check_violation', CONSTRAINT = 'notice_first_once';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tells_once BEFORE INSERT OR UPDATE ON notice_first FOR EACH ROW EXECUTE FUNCTION tells_once();

-- What a person is told beside the columns: offence, posts, remedies … (policy.Told); absent
-- in notices from before.
ALTER TABLE notices ADD COLUMN about text CHECK (octet_length(about) <= 1048576);
-- The same, before anything is done.
CREATE TABLE first_notices (LIKE notices INCLUDING CONSTRAINTS);
ALTER TABLE first_notices
  ALTER COLUMN target SET NOT NULL,
  ADD PRIMARY KEY (case_id, target),
  ADD FOREIGN KEY (case_id) REFERENCES notice_first,
  ADD FOREIGN KEY (leaf) REFERENCES log_leaves;
CREATE INDEX first_notices_of ON first_notices (pseudonym);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON first_notices FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON first_notices EXECUTE FUNCTION never();

-- What was said against an order, encrypted to who reads the exhibits of its case.
CREATE TABLE objections (
  case_id   text COLLATE "C" NOT NULL REFERENCES cases,
  target    smallint NOT NULL CHECK (target >= 0),
  n         smallint NOT NULL CHECK (n BETWEEN 1 AND 3),
  lawyer    boolean  NOT NULL,                                          -- with the one-time code of the notice
  day       date     NOT NULL CHECK (isfinite(day)),
  suspends  boolean  NOT NULL,                                          -- it came in time
  digest    bytea    NOT NULL CHECK (octet_length(digest) = 32),
  sealed    bytea    CHECK (octet_length(sealed) BETWEEN 1 AND 131072), -- NULL: dropped
  keep_days int      NOT NULL CHECK (keep_days BETWEEN 1 AND 1096),     -- behind the end of the case
  leaf      bigint   UNIQUE REFERENCES log_leaves,                      -- of one that suspends
  outcome   text     CHECK (outcome IN ('upheld', 'dismissed')),
  ruling    bigint   REFERENCES log_leaves,                             -- recorded leaf of it
  said      text     CHECK (octet_length(said) <= 262144),              -- in the ruling
  PRIMARY KEY (case_id, target, n),
  CONSTRAINT objections_ruled CHECK (num_nonnulls(outcome, ruling, said) IN (0, 3) AND (leaf IS NULL OR suspends))
);
ALTER TABLE objections ALTER sealed SET STORAGE EXTERNAL; -- ciphertext does not compress
CREATE INDEX objections_unlogged ON objections (case_id) WHERE suspends AND leaf IS NULL;
CREATE INDEX objections_waiting ON objections (case_id) WHERE suspends AND outcome IS NULL;
CREATE INDEX objections_sealed ON objections (day) WHERE sealed IS NOT NULL;
CREATE TRIGGER no_delete BEFORE DELETE ON objections FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON objections EXECUTE FUNCTION never();

-- It is logged once, ruled on once by the newest leaf, and its text goes once.
-- +goose StatementBegin
CREATE FUNCTION objection_moves() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE recorded bigint;
BEGIN
  SELECT recorded_leaf INTO recorded FROM cases WHERE id = OLD.case_id;
  IF (OLD.case_id, OLD.target, OLD.n, OLD.lawyer, OLD.day, OLD.suspends, OLD.digest, OLD.keep_days)
     IS DISTINCT FROM (NEW.case_id, NEW.target, NEW.n, NEW.lawyer, NEW.day, NEW.suspends, NEW.digest, NEW.keep_days)
     OR NEW.sealed IS NOT NULL AND NEW.sealed IS DISTINCT FROM OLD.sealed
     OR OLD.leaf IS NOT NULL AND NEW.leaf IS DISTINCT FROM OLD.leaf
     OR OLD.outcome IS NOT NULL AND (OLD.outcome, OLD.ruling, OLD.said) IS DISTINCT FROM (NEW.outcome, NEW.ruling, NEW.said) THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'objections_fixed';
  END IF;
  IF OLD.leaf IS NULL AND NEW.leaf IS NOT NULL AND NOT EXISTS (SELECT FROM log_leaves g WHERE g.index = NEW.leaf
       AND convert_from(g.leaf, 'UTF8')::json ->> 'kind' = 'objected' AND convert_from(g.leaf, 'UTF8')::json ->> 'case' = recorded::text)
     OR OLD.outcome IS NULL AND NEW.outcome IS NOT NULL AND NOT EXISTS (SELECT FROM log_leaves g
       WHERE g.index = (SELECT max(index) FROM log_leaves) AND g.index = NEW.ruling
       AND convert_from(g.leaf, 'UTF8')::json ->> 'warrant_kind' = 'ruling' AND convert_from(g.leaf, 'UTF8')::json ->> 'case' = recorded::text) THEN
    RAISE EXCEPTION 'leaf' USING ERRCODE = 'check_violation', CONSTRAINT = 'objections_leaf';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE UPDATE ON objections FOR EACH ROW EXECUTE FUNCTION objection_moves();

-- Nothing goes on before the days are over, nor under an objection.
-- +goose StatementBegin
CREATE FUNCTION persons_first() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM notice_first f WHERE f.case_id = NEW.id AND (f.leaf IS NULL OR (f.approve_from AT TIME ZONE 'UTC')::date >
         (SELECT (convert_from(g.leaf, 'UTF8')::json ->> 'day')::date FROM log_leaves g ORDER BY g.index DESC LIMIT 1)))
     OR EXISTS (SELECT FROM objections o WHERE o.case_id = NEW.id AND o.suspends AND o.outcome IS NULL) THEN
    RAISE EXCEPTION 'first' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_persons_first';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER persons_first BEFORE UPDATE ON cases FOR EACH ROW
  WHEN (NEW.state IN ('authorised', 'released') AND OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION persons_first();

-- One-time codes by which a lawyer objects: one for each notice, for 30 days.
CREATE TABLE notice_codes (
  hash    bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  case_id text COLLATE "C" NOT NULL REFERENCES cases,
  target  smallint NOT NULL,
  until   date NOT NULL CHECK (isfinite(until)),
  used    bytea CHECK (octet_length(used) = 32),                        -- digest of what was objected with it
  UNIQUE (case_id, target)
);
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON notice_codes EXECUTE FUNCTION never();

-- Of which target of a case a notice is.
CREATE VIEW notices_of AS
  SELECT case_id, target, pseudonym, platform, leaf, authority, file_number, about FROM first_notices
  UNION
  SELECT case_id, target, pseudonym, platform, leaf, authority, file_number, about FROM notices n
  WHERE target IS NOT NULL AND NOT EXISTS (SELECT FROM first_notices f WHERE (f.case_id, f.target) = (n.case_id, n.target));

-- An objection comes before or after whatever else happens to its case. It is the code of a
-- refusal, or empty.
-- +goose StatementBegin
CREATE FUNCTION store_objection(id text, which int, by_lawyer boolean, words bytea, at timestamptz) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE c cases%ROWTYPE; so_far int; kept int;
BEGIN
  SELECT * INTO c FROM cases WHERE cases.id = store_objection.id FOR UPDATE;
  SELECT count(*) INTO so_far FROM objections o WHERE o.case_id = c.id AND o.target = which;
  SELECT (about::json -> 'objection' ->> 'keep_days')::int INTO kept FROM notices_of n WHERE n.case_id = c.id AND n.target = which;
  IF EXISTS (SELECT FROM objections o WHERE o.case_id = c.id AND o.target = which AND o.digest = sha256(words)) THEN
    RETURN ''; -- whose answer was lost
  END IF;
  IF so_far >= 3 THEN
    RETURN 'notice.objections';
  END IF;
  INSERT INTO objections (case_id, target, n, lawyer, day, suspends, digest, sealed, keep_days) VALUES (c.id, which, so_far + 1, by_lawyer, (at AT TIME ZONE 'UTC')::date,
    c.state = 'recorded' AND EXISTS (SELECT FROM notice_first f WHERE f.case_id = c.id AND (f.approve_from IS NULL OR at < f.approve_from)),
    sha256(words), words, coalesce(kept, 90));
  RETURN '';
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION object_to(pen text, at_platform text, recorded bigint, words bytea, at timestamptz) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE n notices_of%ROWTYPE;
BEGIN
  SELECT * INTO n FROM notices_of o WHERE (o.pseudonym, o.platform, o.leaf) = (pen, at_platform, recorded);
  IF NOT FOUND THEN
    RETURN 'notice.unknown';
  END IF;
  RETURN store_objection(n.case_id, n.target, false, words, at);
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION make_code(pen text, at_platform text, recorded bigint, code bytea, at timestamptz) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE n notices_of%ROWTYPE;
BEGIN
  SELECT * INTO n FROM notices_of o WHERE (o.pseudonym, o.platform, o.leaf) = (pen, at_platform, recorded);
  IF NOT FOUND THEN
    RETURN 'notice.unknown';
  END IF;
  INSERT INTO notice_codes (hash, case_id, target, until) VALUES (code, n.case_id, n.target, (at AT TIME ZONE 'UTC')::date + 30)
    ON CONFLICT (case_id, target) DO UPDATE SET hash = excluded.hash, until = excluded.until, used = NULL;
  RETURN '';
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION use_code(code bytea, words bytea, at timestamptz) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE k notice_codes%ROWTYPE; refused text;
BEGIN
  SELECT * INTO k FROM notice_codes WHERE hash = code AND until >= (at AT TIME ZONE 'UTC')::date FOR UPDATE;
  IF NOT FOUND OR k.used <> sha256(words) THEN
    RETURN 'notice.unknown';
  END IF;
  refused := store_objection(k.case_id, k.target, true, words, at);
  IF refused = '' THEN
    UPDATE notice_codes SET used = sha256(words) WHERE hash = code;
  END IF;
  RETURN refused;
END $$;
-- +goose StatementEnd

-- For the issuing side, which reads no case.
DROP VIEW notices_now;
CREATE VIEW notices_now AS
  SELECT n.*, coalesce(t.state, '') AS state, coalesce(t.code, '') AS code, d.case_id IS NOT NULL AS deleted
  FROM notices n LEFT JOIN case_targets t ON t.case_id = n.case_id AND t.target = n.target
    LEFT JOIN deletions d ON d.case_id = n.case_id;
-- Until the person is told what came of it: of a case that opens nothing any more for good.
CREATE VIEW first_notices_now AS
  SELECT n.*, t.state, t.code, f.days, f.approve_from, c.expires
  FROM first_notices n JOIN notice_first f USING (case_id) JOIN cases c ON c.id = n.case_id JOIN case_targets t ON t.case_id = n.case_id AND t.target = n.target
  WHERE NOT EXISTS (SELECT FROM notices l WHERE (l.case_id, l.pseudonym, l.platform) = (n.case_id, n.pseudonym, n.platform));
CREATE VIEW objections_now AS
  SELECT n.pseudonym, n.platform, n.leaf, o.n, o.lawyer, o.day, o.suspends, o.outcome, o.ruling, o.said
  FROM objections o JOIN notices_of n ON n.case_id = o.case_id AND n.target = o.target;

-- They are put into order like the rest (see 00001).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION mix() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE t text; c text;
BEGIN
  FOR t, c IN VALUES ('records', 'day'), ('persons', 'day'), ('pseudonyms', 'day'), ('handles', 'day'), ('notes', 'day'), ('erasures', 'day'), ('reviews', 'day'), ('sessions', 'expires'),
                     ('claims', 'expires'), ('claim_counts', 'expires'), ('claims_told', 'day'), ('addresses', 'day'), ('mails', 'day'), ('notice_codes', 'until'), ('objections', 'day'),
                     ('openid_rows', 'expires'), ('openid_used', 'expires'), ('openid_entries', 'expires') LOOP
    EXECUTE format('UPDATE %1$I SET %2$I = %2$I WHERE %2$I IN
      (SELECT %2$I FROM %1$I GROUP BY 1 HAVING count(DISTINCT xmin::text) > 1)', t, c);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION sort(t text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF t NOT IN ('records', 'persons', 'pseudonyms', 'handles', 'notes', 'erasures', 'reviews', 'sessions', 'claims', 'claim_counts', 'claims_told', 'addresses', 'mails', 'notice_codes', 'objections', 'openid_rows', 'openid_used', 'openid_entries') THEN
    RAISE EXCEPTION 'no such table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('CLUSTER %I USING %I', t, t || '_pkey');
END $$;
-- +goose StatementEnd
