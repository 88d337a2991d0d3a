-- +goose Up

-- ---------------------------------------------------------------- people --
-- No time finer than a day, no serial number, and no order: rows are put into
-- the order of their random keys by mix() and sort() below.

CREATE TABLE records (
  label       text COLLATE "C" PRIMARY KEY CHECK (label ~ '^[a-z2-7]{26}$'),
  first_half  text    NOT NULL CHECK (octet_length(first_half) BETWEEN 1 AND 1024),
  second_half bytea   NOT NULL CHECK (octet_length(second_half) BETWEEN 1 AND 4096),
  sealed      bytea   NOT NULL CHECK (octet_length(sealed) BETWEEN 1 AND 1048576), -- all fields with their names
  day         date    NOT NULL CHECK (isfinite(day))
);

-- The fingerprint is a MAC, so it is a random key too. id and label are 128
-- random bits and need no index here: nobody looks for them. There is no
-- foreign key from label to records: it would cost a third of the enrolments,
-- and one statement writes both rows or none.
CREATE TABLE persons (
  fingerprint bytea PRIMARY KEY CHECK (octet_length(fingerprint) = 32),
  likeness    bytea NOT NULL UNIQUE CHECK (octet_length(likeness) = 32),
  birth       bytea NOT NULL CHECK (octet_length(birth) = 32),
  id          bytea NOT NULL CHECK (octet_length(id) = 16),
  label       text COLLATE "C" NOT NULL,
  digest      bytea NOT NULL CHECK (octet_length(digest) = 32),
  day         date  NOT NULL CHECK (isfinite(day))
);

-- No column leads to the person: the link is sealed for the disclosing side.
CREATE TABLE pseudonyms (
  pseudonym  text COLLATE "C" PRIMARY KEY CHECK (pseudonym ~ '^pen1[a-z0-9]{20,60}$'),
  platform   text  NOT NULL CHECK (octet_length(platform) BETWEEN 1 AND 255),
  link       text  NOT NULL CHECK (octet_length(link) BETWEEN 1 AND 1024),
  commitment bytea NOT NULL CHECK (octet_length(commitment) = 32),
  day        date  NOT NULL CHECK (isfinite(day))
);

-- ------------------------------------------------------------------- log --

-- Appending transactions lock the one row of this table and never change it.
CREATE TABLE log_lock (one boolean PRIMARY KEY DEFAULT true CHECK (one));
INSERT INTO log_lock DEFAULT VALUES;

CREATE TABLE log_leaves (
  index bigint PRIMARY KEY CHECK (index >= 0),
  leaf  bytea  NOT NULL CHECK (octet_length(leaf) BETWEEN 1 AND 65535) -- 16-bit length in a tile
);

CREATE TABLE log_hashes (
  id   bigint PRIMARY KEY CHECK (id >= 0), -- tlog.StoredHashIndex
  hash bytea  NOT NULL CHECK (octet_length(hash) = 32)
);

-- The newest row counts; the others are kept as evidence.
CREATE TABLE log_checkpoints (
  n      bigint PRIMARY KEY CHECK (n >= 1),
  size   bigint NOT NULL CHECK (size >= 0),
  root   bytea  NOT NULL CHECK (octet_length(root) = 32),
  signed bytea  NOT NULL CHECK (octet_length(signed) BETWEEN 1 AND 1048576)
);

-- ----------------------------------------------------------------- cases --

CREATE TABLE bundles (
  leaf         bigint PRIMARY KEY REFERENCES log_leaves, -- the newest is in force
  bundle       bytea  NOT NULL CHECK (octet_length(bundle) BETWEEN 1 AND 16777216),
  endorsements text[] NOT NULL
);

CREATE TABLE cases (
  id              text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z2-7]{26}$'),
  warrant_hash    bytea  NOT NULL UNIQUE CHECK (octet_length(warrant_hash) = 32),
  authority       text   NOT NULL CHECK (octet_length(authority) <= 1024),
  warrant_id      text   NOT NULL CHECK (octet_length(warrant_id) <= 1024),
  submission      bytea  NOT NULL CHECK (octet_length(submission) BETWEEN 2 AND 67108864),
  bundle          text   NOT NULL CHECK (octet_length(bundle) <= 64),
  salt            bytea  NOT NULL CHECK (octet_length(salt) = 32),
  quorum          int    NOT NULL CHECK (quorum >= 1),
  state           text   NOT NULL CHECK (state IN ('recorded', 'authorised', 'released', 'noticed', 'declined', 'lost', 'withdrawn')),
  secrecy_ends    timestamptz NOT NULL CHECK (isfinite(secrecy_ends)),
  expires         timestamptz NOT NULL CHECK (isfinite(expires)),
  approve_from    timestamptz NOT NULL CHECK (isfinite(approve_from)),
  recorded_leaf   bigint NOT NULL UNIQUE REFERENCES log_leaves,
  authorised_leaf bigint UNIQUE REFERENCES log_leaves,
  released_leaf   bigint UNIQUE REFERENCES log_leaves,
  noticed_leaf    bigint UNIQUE REFERENCES log_leaves,
  package         bytea  CHECK (octet_length(package) BETWEEN 1 AND 268435456),
  -- One warrant is one case, also when somebody varied its signature.
  UNIQUE (authority, warrant_id),
  -- Log before reveal (ATTACKS, lesson 1): a state is reached with its leaf,
  -- and the leaves of a case stand in the order of its states.
  CONSTRAINT cases_state_has_leaf CHECK (
    (state IN ('lost', 'withdrawn') OR
      (authorised_leaf IS NOT NULL) = (state IN ('authorised', 'released', 'noticed')) AND
      (released_leaf   IS NOT NULL) = (state IN ('released', 'noticed'))) AND
    (released_leaf IS NULL OR authorised_leaf IS NOT NULL AND state <> 'withdrawn') AND
    (noticed_leaf  IS NOT NULL) = (state = 'noticed') AND
    (state = 'noticed' OR (package IS NOT NULL) = (state = 'released'))),
  CONSTRAINT cases_leaf_order CHECK (
    authorised_leaf > recorded_leaf AND released_leaf > authorised_leaf AND noticed_leaf > released_leaf)
);
CREATE INDEX cases_by_state ON cases (state, recorded_leaf);

CREATE TABLE approvals (
  case_id   text COLLATE "C" NOT NULL REFERENCES cases,
  custodian text    NOT NULL CHECK (octet_length(custodian) BETWEEN 1 AND 128),
  approved  boolean NOT NULL,
  signed    text    NOT NULL CHECK (octet_length(signed) BETWEEN 1 AND 67108864),
  leaf      bigint  NOT NULL UNIQUE REFERENCES log_leaves,
  PRIMARY KEY (case_id, custodian) -- threshold = distinct authorities (ATTACKS, lesson 5)
);

CREATE TABLE notices (
  case_id     text COLLATE "C" NOT NULL REFERENCES cases,
  pseudonym   text COLLATE "C" NOT NULL,
  platform    text   NOT NULL,
  authority   text   NOT NULL,
  file_number text   NOT NULL,
  legal_basis text   NOT NULL,
  requester   text   NOT NULL,
  fields      text[] NOT NULL,
  leaf        bigint NOT NULL REFERENCES log_leaves,
  day         date   NOT NULL CHECK (isfinite(day)),
  PRIMARY KEY (pseudonym, platform, case_id)
);
CREATE INDEX notices_by_case ON notices (case_id);

-- A refused warrant has a leaf, once for each code.
CREATE TABLE refusals (
  warrant_hash bytea  NOT NULL CHECK (octet_length(warrant_hash) = 32),
  code         text   NOT NULL,
  leaf         bigint NOT NULL UNIQUE REFERENCES log_leaves,
  PRIMARY KEY (warrant_hash, code)
);

-- ---------------------------------------------------------------- openid --
-- Protocol state, forgotten when it expires. writer is the random number of
-- the write that made the row what it is: who lost an answer looks for it.
-- holder is whose a grant is, so that all of them can be ended when their person
-- is erased; a row that has ended names nobody.

CREATE TABLE openid_rows (
  kind    text    NOT NULL CHECK (kind IN ('session', 'grant')),
  id      bytea   NOT NULL CHECK (octet_length(id) = 32),
  holder  text    NOT NULL DEFAULT '' CHECK (octet_length(holder) <= 128 AND (holder = '' OR kind = 'grant' AND NOT ended)),
  version bigint  NOT NULL CHECK (version >= 1),
  body    bytea   NOT NULL CHECK (octet_length(body) <= 1048576 AND (NOT ended OR body = '')),
  expires timestamptz NOT NULL CHECK (isfinite(expires) AND expires = date_trunc('hour', expires, 'UTC')),
  ended   boolean NOT NULL,
  writer  bytea   NOT NULL CHECK (octet_length(writer) = 16),
  PRIMARY KEY (id, kind)
);
CREATE INDEX openid_rows_by_holder ON openid_rows (holder) WHERE holder <> '';
CREATE TABLE openid_used (
  key     bytea PRIMARY KEY CHECK (octet_length(key) = 32),
  expires timestamptz NOT NULL CHECK (isfinite(expires) AND expires = date_trunc('hour', expires, 'UTC')),
  writer  bytea NOT NULL CHECK (octet_length(writer) = 16)
);
CREATE TABLE requests_used ( -- likewise, of the disclosing side
  key     bytea PRIMARY KEY CHECK (octet_length(key) = 32),
  expires timestamptz NOT NULL CHECK (isfinite(expires) AND expires = date_trunc('hour', expires, 'UTC')),
  writer  bytea NOT NULL CHECK (octet_length(writer) = 16)
);
CREATE TABLE openid_entries (
  list     bigint NOT NULL CHECK (list >= 0),
  index    bigint NOT NULL CHECK (index >= 0),
  grant_id bytea  NOT NULL CHECK (octet_length(grant_id) = 32),
  expires  timestamptz NOT NULL CHECK (isfinite(expires) AND expires = date_trunc('hour', expires, 'UTC')),
  PRIMARY KEY (list, index)
);
CREATE INDEX openid_entries_by_grant ON openid_entries (grant_id);

-- -------------------------------------------------------------- triggers --
-- Grants keep the services from it; these keep everybody from it, the owner
-- and our own mistakes included.

-- +goose StatementBegin
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'append-only' USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only';
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['log_leaves', 'log_hashes', 'log_checkpoints', 'log_lock', 'bundles', 'approvals', 'notices', 'refusals'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION never()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['log_leaves', 'log_hashes', 'log_checkpoints', 'log_lock', 'bundles', 'approvals', 'notices', 'refusals', 'cases', 'records', 'persons', 'pseudonyms'] LOOP
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION never()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['cases', 'records', 'persons', 'pseudonyms'] LOOP
    EXECUTE format('CREATE TRIGGER no_delete BEFORE DELETE ON %I FOR EACH ROW EXECUTE FUNCTION never()', t);
  END LOOP;
  -- mix() writes rows again as they are.
  FOREACH t IN ARRAY ARRAY['records', 'persons', 'pseudonyms'] LOOP
    EXECUTE format('CREATE TRIGGER no_change BEFORE UPDATE ON %I FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION never()', t);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION next_leaf() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF NEW.index > 0 AND NOT EXISTS (SELECT FROM log_leaves WHERE index = NEW.index - 1) THEN
    RAISE EXCEPTION 'gap' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_leaves_gap';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER next_leaf BEFORE INSERT ON log_leaves FOR EACH ROW EXECUTE FUNCTION next_leaf();

-- Invariant I5: sizes never shrink, never two roots at one size.
-- +goose StatementBegin
CREATE FUNCTION next_checkpoint() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
DECLARE last log_checkpoints%ROWTYPE;
BEGIN
  SELECT * INTO last FROM log_checkpoints WHERE n = NEW.n - 1;
  IF NOT FOUND AND NEW.n > 1 THEN
    RAISE EXCEPTION 'gap' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_checkpoints_gap';
  ELSIF NEW.size < last.size THEN
    RAISE EXCEPTION 'rollback' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_checkpoints_rollback';
  ELSIF NEW.size = last.size AND NEW.root <> last.root THEN
    RAISE EXCEPTION 'fork' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_checkpoints_fork';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER next_checkpoint BEFORE INSERT ON log_checkpoints FOR EACH ROW EXECUTE FUNCTION next_checkpoint();

-- What a restored backup did not have. The leaf is of the public log and was
-- appended again from a mirror; the row that it was written with is lost, wholly
-- or in part. Every leaf has its row or is in here (I7).
CREATE TABLE lost_leaves (
  leaf bigint PRIMARY KEY REFERENCES log_leaves
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON lost_leaves FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON lost_leaves EXECUTE FUNCTION never();

-- It comes in one transaction with its leaf: what once had a row is never
-- declared lost.
-- +goose StatementBegin
CREATE FUNCTION lost_with_its_leaf() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM log_leaves WHERE index = NEW.leaf AND xmin = pg_current_xact_id()::xid) THEN
    RAISE EXCEPTION 'later' USING ERRCODE = 'check_violation', CONSTRAINT = 'lost_leaves_later';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER with_its_leaf BEFORE INSERT ON lost_leaves FOR EACH ROW EXECUTE FUNCTION lost_with_its_leaf();

-- Invariants I3 and I8: the state moves along its arrows only, and to
-- authorised only with the approvals of a quorum of distinct custodians.
--
-- A case that moved on in what was lost is closed: nobody approves it a second
-- time, and nothing is released from it. What stays owed is the notice, if it was
-- released. A case that was noticed has no package if that is lost.
--
-- A court takes back what it ordered: the case ends, before it was released, in
-- the transaction of the withdrawal's leaf.
-- +goose StatementBegin
CREATE FUNCTION case_moves() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'recorded' THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_transition';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.warrant_hash, NEW.authority, NEW.warrant_id, NEW.submission, NEW.bundle, NEW.salt, NEW.quorum,
      NEW.secrecy_ends, NEW.expires, NEW.approve_from, NEW.recorded_leaf)
     IS DISTINCT FROM
     (OLD.id, OLD.warrant_hash, OLD.authority, OLD.warrant_id, OLD.submission, OLD.bundle, OLD.salt, OLD.quorum,
      OLD.secrecy_ends, OLD.expires, OLD.approve_from, OLD.recorded_leaf)
     OR coalesce(OLD.authorised_leaf, NEW.authorised_leaf) IS DISTINCT FROM NEW.authorised_leaf
     OR coalesce(OLD.released_leaf, NEW.released_leaf) IS DISTINCT FROM NEW.released_leaf
     OR coalesce(OLD.noticed_leaf, NEW.noticed_leaf) IS DISTINCT FROM NEW.noticed_leaf
     OR coalesce(OLD.package, NEW.package) IS DISTINCT FROM NEW.package THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_fixed';
  END IF;
  IF (OLD.state, NEW.state) NOT IN (('recorded', 'authorised'), ('recorded', 'declined'), ('authorised', 'released'), ('released', 'noticed'),
     ('recorded', 'lost'), ('authorised', 'lost'), ('lost', 'lost'), ('lost', 'noticed'),
     ('recorded', 'withdrawn'), ('authorised', 'withdrawn')) THEN
    RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_transition';
  END IF;
  IF NEW.state = 'authorised' AND NEW.quorum > (SELECT count(*) FROM approvals WHERE case_id = NEW.id AND approved) THEN
    RAISE EXCEPTION 'quorum' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_quorum';
  END IF;
  -- Only what is lost closes a case so.
  IF NEW.state = 'lost' AND NOT EXISTS (SELECT FROM lost_leaves l JOIN log_leaves g ON g.index = l.leaf
     WHERE convert_from(g.leaf, 'UTF8')::json ->> 'case' = NEW.recorded_leaf::text) THEN
    RAISE EXCEPTION 'lost' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_lost';
  END IF;
  -- And only its withdrawal, which is the newest leaf, withdraws it.
  IF NEW.state = 'withdrawn' AND OLD.state <> 'withdrawn' AND NOT EXISTS (SELECT FROM log_leaves g
     WHERE g.index = (SELECT max(index) FROM log_leaves)
       AND convert_from(g.leaf, 'UTF8')::json ->> 'warrant_kind' = 'withdrawal'
       AND convert_from(g.leaf, 'UTF8')::json ->> 'case' = NEW.recorded_leaf::text) THEN
    RAISE EXCEPTION 'withdrawn' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_withdrawn';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON cases FOR EACH ROW EXECUTE FUNCTION case_moves();

-- Who decides late may still step in for one whose share is wrong; a notice is
-- only for once it is due.
-- +goose StatementBegin
CREATE FUNCTION case_is_in() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM cases WHERE id = NEW.case_id AND state = ANY (string_to_array(TG_ARGV[0], ' '))) THEN
    RAISE EXCEPTION 'state' USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_case_state';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER case_is_in BEFORE INSERT ON approvals FOR EACH ROW EXECUTE FUNCTION case_is_in('recorded authorised released');
CREATE TRIGGER case_is_in BEFORE INSERT ON notices   FOR EACH ROW EXECUTE FUNCTION case_is_in('noticed');

-- --------------------------------------------------------------- shuffle --
-- A row's place in its file, and the transaction number in its header (xmin,
-- which CLUSTER keeps), would tell which pseudonyms were made by whom, one
-- after the other. mix() writes all rows of a day (of an hour, where the row
-- says the hour) again in one transaction, so that they have one number; sort()
-- then orders each file by its random key and drops the old versions. Two
-- calls, because sort() keeps what its own transaction deleted. Neither hides a
-- row from an older snapshot, as TRUNCATE and ALTER TABLE would: a backup that
-- is running stays whole.

-- +goose StatementBegin
CREATE FUNCTION mix() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE t text; c text;
BEGIN
  FOR t, c IN VALUES ('records', 'day'), ('persons', 'day'), ('pseudonyms', 'day'),
                     ('openid_rows', 'expires'), ('openid_used', 'expires'), ('openid_entries', 'expires') LOOP
    EXECUTE format('UPDATE %1$I SET %2$I = %2$I WHERE %2$I IN
      (SELECT %2$I FROM %1$I GROUP BY 1 HAVING count(DISTINCT xmin::text) > 1)', t, c);
  END LOOP;
END $$;
-- +goose StatementEnd

-- One table a call, so that a sign-in waits for one table at most.
-- +goose StatementBegin
CREATE FUNCTION sort(t text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF t NOT IN ('records', 'persons', 'pseudonyms', 'openid_rows', 'openid_used', 'openid_entries') THEN
    RAISE EXCEPTION 'no such table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('CLUSTER %I USING %I', t, t || '_pkey');
END $$;
-- +goose StatementEnd
