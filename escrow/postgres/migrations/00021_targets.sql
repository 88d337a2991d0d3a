-- +goose Up

-- A case is decided and released target by target. cases.state says where the case as a
-- whole stands, case_targets where each of its targets does. What reaches its quorum
-- together is a round, with a package of its own: the first round is in the row of the
-- case, further ones are in case_rounds.

ALTER TABLE cases
  ADD COLUMN targets        int NOT NULL DEFAULT 0 CHECK (targets >= 0),   -- as filed
  ADD COLUMN waiting        int NOT NULL DEFAULT 0 CHECK (waiting >= 0),   -- of those, kept by a trigger
  ADD COLUMN released       int NOT NULL DEFAULT 0 CHECK (released >= 0),  -- likewise
  ADD COLUMN day            date NOT NULL DEFAULT '2000-01-01' CHECK (isfinite(day)), -- of its recorded leaf
  ADD COLUMN requester      text CHECK (octet_length(requester) <= 128),   -- id of the organisation, since format 5
  ADD COLUMN receipt        bytea CHECK (octet_length(receipt) = 32),      -- of it come what a statement of deletion is proven with, and the keys that lock halves
  ADD COLUMN validate_by    timestamptz CHECK (isfinite(validate_by)),     -- of an emergency: else it lapses
  ADD COLUMN validated_leaf bigint UNIQUE REFERENCES log_leaves,           -- recorded leaf of the validation
  ADD COLUMN lapsed_leaf    bigint UNIQUE REFERENCES log_leaves,
  ADD COLUMN declined_leaf  bigint UNIQUE REFERENCES log_leaves;           -- that opens the decisions after which no quorum can be reached

CREATE TABLE case_targets (
  case_id text COLLATE "C" NOT NULL REFERENCES cases,
  target  smallint NOT NULL CHECK (target BETWEEN 0 AND 899),              -- its place in the warrant
  state   text NOT NULL CHECK (state IN ('waiting', 'authorised', 'released', 'refused', 'declined', 'withdrawn', 'stopped', 'lapsed', 'expired')),
  code    text NOT NULL DEFAULT '' CHECK (code ~ '^([a-z][a-z0-9_]*([.][a-z0-9_]+)+)?$' AND octet_length(code) <= 64), -- why it is refused, or why its use is forbidden
  round   smallint CHECK (round >= 1),                                     -- in which it was authorised
  PRIMARY KEY (case_id, target),
  CONSTRAINT case_targets_shape CHECK (
    (state <> 'refused' OR code <> '') AND (code = '' OR state IN ('refused', 'released')) AND (state <> 'authorised' OR round IS NOT NULL))
);

CREATE TABLE case_rounds (
  case_id         text COLLATE "C" NOT NULL REFERENCES cases,
  n               smallint NOT NULL CHECK (n >= 2),
  authorised_leaf bigint NOT NULL UNIQUE REFERENCES log_leaves,
  released_leaf   bigint UNIQUE REFERENCES log_leaves CHECK (released_leaf > authorised_leaf),
  package         bytea CHECK (octet_length(package) BETWEEN 1 AND 268435456),
  PRIMARY KEY (case_id, n),
  CONSTRAINT case_rounds_packed CHECK ((released_leaf IS NULL) = (package IS NULL))
);

-- What forbids the use of what was opened: the recorded leaf of an annulment.
CREATE TABLE annulments (
  case_id text COLLATE "C" NOT NULL REFERENCES cases,
  leaf    bigint NOT NULL UNIQUE REFERENCES log_leaves,
  PRIMARY KEY (case_id, leaf)
);

-- What a requester states: that what was delivered is deleted. Nobody can check it.
CREATE TABLE deletions (
  case_id text COLLATE "C" PRIMARY KEY REFERENCES cases,
  said    text   NOT NULL CHECK (octet_length(said) BETWEEN 1 AND 16384),
  mac     bytea  NOT NULL CHECK (octet_length(mac) = 32),                  -- HMAC-SHA-256 of it by the receipt
  leaf    bigint NOT NULL UNIQUE REFERENCES log_leaves
);

-- Which targets a custodian agreed to open, in the order of the warrant; NULL: all or
-- none of them, before targets were decided one by one. Bit i is bit i % 8 of byte i / 8.
ALTER TABLE approvals ADD COLUMN votes bytea CHECK (octet_length(votes) <= 113);

-- Cases from before: what became of the case became of all its targets.
ALTER TABLE cases DISABLE TRIGGER moves;
UPDATE cases c SET (day, targets) = (
  SELECT (convert_from(g.leaf, 'UTF8')::json ->> 'day')::date, coalesce((convert_from(g.leaf, 'UTF8')::json ->> 'targets')::int, 0)
  FROM log_leaves g WHERE g.index = c.recorded_leaf);
INSERT INTO case_targets (case_id, target, state, code, round)
  SELECT c.id, t.n,
    CASE WHEN c.released_leaf IS NOT NULL THEN 'released' WHEN c.state = 'recorded' THEN 'waiting' WHEN c.state = 'lost' THEN 'refused' ELSE c.state END,
    CASE WHEN c.released_leaf IS NULL AND c.state = 'lost' THEN 'warrant.interrupted' ELSE '' END,
    CASE WHEN c.authorised_leaf IS NOT NULL THEN 1 END
  FROM cases c, generate_series(0, c.targets - 1) t (n);
UPDATE cases SET waiting  = CASE WHEN state = 'recorded' THEN targets ELSE 0 END,
                 released = CASE WHEN released_leaf IS NOT NULL THEN targets ELSE 0 END
  WHERE state = 'recorded' OR released_leaf IS NOT NULL;
ALTER TABLE cases ENABLE TRIGGER moves;
ALTER TABLE cases ALTER COLUMN day DROP DEFAULT;

ALTER TABLE cases
  DROP CONSTRAINT IF EXISTS cases_state_check,
  DROP CONSTRAINT IF EXISTS cases_state_has_leaf,
  DROP CONSTRAINT IF EXISTS cases_leaf_order,
  ADD CONSTRAINT cases_state_check CHECK (state IN ('recorded', 'authorised', 'released', 'noticed', 'declined', 'withdrawn', 'stopped', 'lapsed', 'expired', 'lost')),
  -- Log before reveal (ATTACKS, lesson 1): a state is reached with its leaf, and the
  -- leaves of a case stand in the order of its states. A case of which a further round
  -- was released, and the first was not, is released without leaf and package in its row.
  ADD CONSTRAINT cases_state_has_leaf CHECK (
    (state <> 'recorded' OR authorised_leaf IS NULL) AND
    (state NOT IN ('authorised', 'released', 'noticed') OR authorised_leaf IS NOT NULL) AND
    (released_leaf IS NULL OR authorised_leaf IS NOT NULL AND state IN ('authorised', 'released', 'noticed', 'lost')) AND
    (expired_leaf IS NOT NULL) = (state = 'expired') AND
    (noticed_leaf IS NOT NULL) = (state = 'noticed') AND
    (lapsed_leaf IS NULL OR state IN ('lapsed', 'released', 'noticed')) AND
    (state <> 'lapsed' OR lapsed_leaf IS NOT NULL) AND
    (package IS NULL OR released_leaf IS NOT NULL) AND
    (package IS NOT NULL OR released_leaf IS NULL OR state IN ('noticed', 'lost'))),
  ADD CONSTRAINT cases_leaf_order CHECK (
    authorised_leaf > recorded_leaf AND released_leaf > authorised_leaf AND noticed_leaf > released_leaf AND
    expired_leaf > recorded_leaf AND expired_leaf > authorised_leaf AND
    declined_leaf > recorded_leaf AND lapsed_leaf > recorded_leaf AND validated_leaf > recorded_leaf);

DROP INDEX IF EXISTS cases_for_custodians, cases_for_notice, cases_for_expiry, cases_by_authority;
CREATE INDEX cases_for_custodians ON cases (expires, recorded_leaf)
  WHERE waiting > 0 AND state IN ('recorded', 'authorised', 'released') AND kind IN ('production', 'emergency', 'suspension', 'link');
CREATE INDEX cases_for_notice ON cases (secrecy_ends, recorded_leaf)
  WHERE released > 0 AND state IN ('authorised', 'released', 'lost') OR state = 'authorised' AND kind = 'suspension';
CREATE INDEX cases_for_expiry ON cases (expires, recorded_leaf)
  WHERE (state IN ('recorded', 'authorised') OR state = 'released' AND waiting > 0) AND kind IN ('production', 'emergency', 'suspension', 'link', 'preservation');
CREATE INDEX cases_for_validation ON cases (validate_by, recorded_leaf)
  WHERE validated_leaf IS NULL AND lapsed_leaf IS NULL AND validate_by IS NOT NULL AND state IN ('recorded', 'authorised', 'released', 'noticed');
-- How many an authority and a requester filed: on a day, and targets in a month.
CREATE INDEX cases_filed_by ON cases (authority, day, kind) INCLUDE (targets, recorded_leaf) WHERE kind <> 'withdrawal';
CREATE INDEX cases_filed_for ON cases (requester, day, kind) INCLUDE (targets, recorded_leaf) WHERE requester IS NOT NULL;

-- Whether the newest leaf is of that kind (a warrant's, or a step's) and about the case
-- with that recorded leaf: what changes a case comes with its leaf.
-- +goose StatementBegin
CREATE FUNCTION newest_leaf_is(of_kind text, about bigint) RETURNS boolean LANGUAGE sql STABLE SET search_path = penname, pg_temp AS $$
  SELECT EXISTS (SELECT FROM log_leaves g, LATERAL (SELECT convert_from(g.leaf, 'UTF8')::json) j (leaf)
    WHERE g.index = (SELECT max(index) FROM log_leaves) AND j.leaf ->> 'case' = about::text
      AND coalesce(j.leaf ->> 'warrant_kind', j.leaf ->> 'kind') = of_kind)
$$;
-- +goose StatementEnd

-- What each custodian decided last: who has declined since counts no more.
-- +goose StatementBegin
CREATE FUNCTION last_decisions(id text) RETURNS SETOF approvals LANGUAGE sql STABLE SET search_path = penname, pg_temp AS $$
  SELECT DISTINCT ON (custodian) * FROM approvals WHERE case_id = id ORDER BY custodian, leaf DESC
$$;
-- +goose StatementEnd

-- Invariants I3 and I8. The arrows are those of disclose.Life, to which a test holds
-- them. A case that stays where it is changes something: how many targets wait or are
-- released, or what a leaf about it says.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION case_moves() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'recorded' OR NEW.waiting <> 0 OR NEW.released <> 0 OR NEW.validated_leaf IS NOT NULL OR NEW.lapsed_leaf IS NOT NULL OR NEW.declined_leaf IS NOT NULL THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_transition';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.warrant_hash, NEW.authority, NEW.warrant_id, NEW.submission, NEW.bundle, NEW.salt, NEW.quorum,
      NEW.kind, NEW.approve_from, NEW.recorded_leaf, NEW.targets, NEW.day, NEW.requester, NEW.receipt, NEW.validate_by)
     IS DISTINCT FROM
     (OLD.id, OLD.warrant_hash, OLD.authority, OLD.warrant_id, OLD.submission, OLD.bundle, OLD.salt, OLD.quorum,
      OLD.kind, OLD.approve_from, OLD.recorded_leaf, OLD.targets, OLD.day, OLD.requester, OLD.receipt, OLD.validate_by)
     OR coalesce(OLD.authorised_leaf, NEW.authorised_leaf) IS DISTINCT FROM NEW.authorised_leaf
     OR coalesce(OLD.released_leaf, NEW.released_leaf) IS DISTINCT FROM NEW.released_leaf
     OR coalesce(OLD.expired_leaf, NEW.expired_leaf) IS DISTINCT FROM NEW.expired_leaf
     OR coalesce(OLD.noticed_leaf, NEW.noticed_leaf) IS DISTINCT FROM NEW.noticed_leaf
     OR coalesce(OLD.validated_leaf, NEW.validated_leaf) IS DISTINCT FROM NEW.validated_leaf
     OR coalesce(OLD.lapsed_leaf, NEW.lapsed_leaf) IS DISTINCT FROM NEW.lapsed_leaf
     OR coalesce(OLD.declined_leaf, NEW.declined_leaf) IS DISTINCT FROM NEW.declined_leaf
     OR coalesce(OLD.package, NEW.package) IS DISTINCT FROM NEW.package
     OR NEW.secrecy_ends <> OLD.secrecy_ends AND NOT newest_leaf_is('secrecy', OLD.recorded_leaf)
     OR NEW.expires <> OLD.expires AND (NEW.expires < OLD.expires OR NOT newest_leaf_is('extension', OLD.recorded_leaf)) THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_fixed';
  END IF;
  IF OLD.state = NEW.state AND OLD.state <> 'lost' THEN
    IF (NEW.waiting, NEW.released, NEW.secrecy_ends, NEW.expires, NEW.validated_leaf, NEW.lapsed_leaf, NEW.declined_leaf, NEW.released_leaf)
       IS NOT DISTINCT FROM
       (OLD.waiting, OLD.released, OLD.secrecy_ends, OLD.expires, OLD.validated_leaf, OLD.lapsed_leaf, OLD.declined_leaf, OLD.released_leaf) THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_transition';
    END IF;
  ELSIF (OLD.state, NEW.state) NOT IN (
     ('recorded', 'authorised'), ('authorised', 'released'), ('released', 'authorised'),
     ('recorded', 'declined'), ('authorised', 'declined'),
     ('recorded', 'withdrawn'), ('authorised', 'withdrawn'),
     ('recorded', 'stopped'), ('authorised', 'stopped'),
     ('recorded', 'lapsed'), ('authorised', 'lapsed'),
     ('recorded', 'expired'), ('authorised', 'expired'), ('lost', 'expired'),
     ('authorised', 'noticed'), ('released', 'noticed'), ('lost', 'noticed'),
     ('recorded', 'lost'), ('authorised', 'lost'), ('released', 'lost'), ('lost', 'lost')) THEN
    RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_transition';
  END IF;
  IF NEW.state = 'authorised' AND NEW.quorum > (SELECT count(*) FROM last_decisions(NEW.id) a WHERE a.approved) THEN
    RAISE EXCEPTION 'quorum' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_quorum';
  END IF;
  IF NEW.state = 'authorised' AND (OLD.state = 'released' OR NEW.released_leaf IS NOT NULL AND OLD.released_leaf IS NULL)
     AND NOT EXISTS (SELECT FROM case_rounds WHERE case_id = NEW.id AND released_leaf IS NULL) THEN
    RAISE EXCEPTION 'round' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_round';
  END IF;
  IF NEW.package IS NOT NULL AND OLD.package IS NULL AND NEW.state NOT IN ('authorised', 'released') THEN
    RAISE EXCEPTION 'packed' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_state_has_leaf';
  END IF;
  IF NEW.state = 'released' AND NEW.released_leaf IS NULL AND NOT EXISTS (SELECT FROM case_rounds WHERE case_id = NEW.id AND released_leaf IS NOT NULL) THEN
    RAISE EXCEPTION 'released' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_state_has_leaf';
  END IF;
  IF NEW.state = 'declined' AND OLD.state <> 'declined' AND EXISTS (SELECT FROM case_targets WHERE case_id = NEW.id AND state IN ('authorised', 'released')) THEN
    RAISE EXCEPTION 'declined' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_declined';
  END IF;
  -- What is suspended is told while that is in force; else there is something to tell.
  IF (OLD.state, NEW.state) = ('authorised', 'noticed') AND OLD.released = 0 AND OLD.kind <> 'suspension' THEN
    RAISE EXCEPTION 'nobody' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_nobody_to_tell';
  END IF;
  -- Only what is lost closes a case so.
  IF NEW.state = 'lost' AND NOT EXISTS (SELECT FROM lost_leaves l JOIN log_leaves g ON g.index = l.leaf
     WHERE convert_from(g.leaf, 'UTF8')::json ->> 'case' = NEW.recorded_leaf::text) THEN
    RAISE EXCEPTION 'lost' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_lost';
  END IF;
  -- And only its withdrawal, which is the newest leaf, withdraws it; likewise what stops
  -- it, validates it, or says that nobody did.
  IF NEW.state = 'withdrawn' AND OLD.state <> 'withdrawn' AND NOT newest_leaf_is('withdrawal', NEW.recorded_leaf) THEN
    RAISE EXCEPTION 'withdrawn' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_withdrawn';
  END IF;
  IF NEW.state = 'stopped' AND OLD.state <> 'stopped' AND NOT newest_leaf_is('annulment', NEW.recorded_leaf) THEN
    RAISE EXCEPTION 'stopped' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_stopped';
  END IF;
  IF NEW.lapsed_leaf IS NOT NULL AND OLD.lapsed_leaf IS NULL AND (NEW.validated_leaf IS NOT NULL OR NEW.validate_by IS NULL OR NOT newest_leaf_is('lapsed', NEW.recorded_leaf)) THEN
    RAISE EXCEPTION 'lapsed' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_lapsed';
  END IF;
  IF NEW.validated_leaf IS NOT NULL AND OLD.validated_leaf IS NULL AND (NEW.lapsed_leaf IS NOT NULL OR NOT newest_leaf_is('validation', NEW.recorded_leaf)) THEN
    RAISE EXCEPTION 'validated' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_validated';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS quorum_is_distinct ON cases;
DROP FUNCTION IF EXISTS distinct_quorum;

-- The arrows are those of disclose.TargetLife, to which a test holds them. A target is
-- authorised by as many distinct custodians as the case wants, each of whom agreed to
-- that target, in a round that has its leaf; and released when that round is.
-- +goose StatementBegin
CREATE FUNCTION target_moves() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE c cases%ROWTYPE; is_out boolean;
BEGIN
  SELECT * INTO c FROM cases WHERE id = NEW.case_id;
  IF TG_OP = 'INSERT' THEN
    IF NEW.state NOT IN ('waiting', 'refused') OR NEW.round IS NOT NULL OR NEW.target >= c.targets
       OR NOT EXISTS (SELECT FROM cases WHERE id = NEW.case_id AND xmin = pg_current_xact_id()::xid) THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_targets_transition';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.case_id, NEW.target) IS DISTINCT FROM (OLD.case_id, OLD.target) OR coalesce(OLD.round, NEW.round) IS DISTINCT FROM NEW.round THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_targets_fixed';
  END IF;
  IF OLD.state = NEW.state THEN
    -- What was released stays so: its use is forbidden with the leaf that says so.
    IF NEW.state <> 'released' OR NEW.round IS DISTINCT FROM OLD.round OR NOT (
         NEW.code = 'warrant.annulled' AND OLD.code = '' AND EXISTS (SELECT FROM annulments WHERE case_id = NEW.case_id)
      OR NEW.code = 'warrant.lapsed' AND c.lapsed_leaf IS NOT NULL) THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_targets_transition';
    END IF;
    RETURN NEW;
  END IF;
  IF (OLD.state, NEW.state) NOT IN (
     ('waiting', 'authorised'), ('authorised', 'released'), ('authorised', 'refused'), ('waiting', 'declined'),
     ('waiting', 'withdrawn'), ('authorised', 'withdrawn'), ('waiting', 'stopped'), ('authorised', 'stopped'),
     ('waiting', 'lapsed'), ('authorised', 'lapsed'), ('waiting', 'expired'), ('authorised', 'expired'),
     ('waiting', 'released')) THEN
    RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_targets_transition';
  END IF;
  IF NEW.state = 'authorised' THEN
    IF c.quorum > (SELECT count(*) FROM last_decisions(NEW.case_id) a WHERE a.approved
       AND (a.votes IS NULL OR octet_length(a.votes) > NEW.target / 8 AND get_bit(a.votes, NEW.target) = 1)) THEN
      RAISE EXCEPTION 'quorum' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_targets_quorum';
    END IF;
    IF NEW.round = 1 AND c.authorised_leaf IS NULL
       OR NEW.round > 1 AND NOT EXISTS (SELECT FROM case_rounds r WHERE r.case_id = NEW.case_id AND r.n = NEW.round) THEN
      RAISE EXCEPTION 'round' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_targets_round';
    END IF;
  ELSIF NEW.round IS DISTINCT FROM OLD.round THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_targets_fixed';
  ELSIF NEW.state = 'released' AND c.state <> 'lost' THEN
    is_out := NEW.round = 1 AND c.released_leaf IS NOT NULL
      OR NEW.round > 1 AND EXISTS (SELECT FROM case_rounds r WHERE r.case_id = NEW.case_id AND r.n = NEW.round AND r.released_leaf IS NOT NULL);
    IF is_out IS NOT TRUE THEN
      RAISE EXCEPTION 'round' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_targets_round';
    END IF;
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON case_targets FOR EACH ROW EXECUTE FUNCTION target_moves();

-- +goose StatementBegin
CREATE FUNCTION count_targets() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  UPDATE cases c SET waiting = n.waiting, released = n.released
  FROM (SELECT t.case_id, count(*) FILTER (WHERE t.state = 'waiting') AS waiting, count(*) FILTER (WHERE t.state = 'released') AS released
        FROM case_targets t WHERE t.case_id IN (SELECT case_id FROM changed) GROUP BY t.case_id) n
  WHERE c.id = n.case_id AND (c.waiting, c.released) IS DISTINCT FROM (n.waiting::int, n.released::int);
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER count_new AFTER INSERT ON case_targets REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_targets();
CREATE TRIGGER count_moved AFTER UPDATE ON case_targets REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_targets();

-- A further round comes when the case has one, and is packed once.
-- +goose StatementBegin
CREATE FUNCTION round_moves() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.released_leaf IS NOT NULL OR NEW.n <> 2 + (SELECT count(*) FROM case_rounds WHERE case_id = NEW.case_id)
       OR NOT EXISTS (SELECT FROM cases WHERE id = NEW.case_id AND state IN ('authorised', 'released') AND authorised_leaf < NEW.authorised_leaf) THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_rounds_transition';
    END IF;
  ELSIF (NEW.case_id, NEW.n, NEW.authorised_leaf) IS DISTINCT FROM (OLD.case_id, OLD.n, OLD.authorised_leaf) OR OLD.released_leaf IS NOT NULL
     OR NOT EXISTS (SELECT FROM cases WHERE id = NEW.case_id AND state = 'authorised') THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'case_rounds_fixed';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON case_rounds FOR EACH ROW EXECUTE FUNCTION round_moves();

-- An annulment comes with its leaf, and a statement of deletion with its own, in a case
-- of which something was released.
-- +goose StatementBegin
CREATE FUNCTION about_its_case() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM cases c WHERE c.id = NEW.case_id AND c.released > 0 AND newest_leaf_is(TG_ARGV[0], c.recorded_leaf))
     OR NEW.leaf <> (SELECT max(index) FROM log_leaves) THEN
    RAISE EXCEPTION 'leaf' USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_leaf';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER about_its_case BEFORE INSERT ON annulments FOR EACH ROW EXECUTE FUNCTION about_its_case('annulment');
CREATE TRIGGER about_its_case BEFORE INSERT ON deletions FOR EACH ROW EXECUTE FUNCTION about_its_case('deleted');

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['annulments', 'deletions'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION never()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['case_targets', 'case_rounds'] LOOP
    EXECUTE format('CREATE TRIGGER no_delete BEFORE DELETE ON %I FOR EACH ROW EXECUTE FUNCTION never()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['annulments', 'deletions', 'case_targets', 'case_rounds'] LOOP
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION never()', t);
  END LOOP;
END $$;
-- +goose StatementEnd
