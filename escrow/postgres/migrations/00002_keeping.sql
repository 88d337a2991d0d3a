-- +goose Up

-- Rotation, erasure and holds (escrow/keep). A hold has no row: which record a
-- pen name belongs to is not in this database, so the disclosing side opens the
-- links of the cases that hold and compares. What it found counts only as long
-- as no further case was recorded (erasures.cleared).

-- ------------------------------------------------------------------ keys --

-- One row for each version of the record key that all records were, or are
-- being, moved to. closed: no record may come in under an older one.
CREATE TABLE rotations (
  version  int    PRIMARY KEY CHECK (version >= 2),
  state    text   NOT NULL CHECK (state IN ('moving', 'closed', 'done')),
  position text   COLLATE "C" NOT NULL DEFAULT '', -- the last label that was moved
  records  bigint NOT NULL DEFAULT 0 CHECK (records >= 0),
  day      date   NOT NULL CHECK (isfinite(day))
);
-- Exactly one set of keys is active (ATTACKS F37).
CREATE UNIQUE INDEX rotations_one ON rotations ((true)) WHERE state <> 'done';

-- The version in "vault:v12:…".
-- +goose StatementBegin
CREATE FUNCTION key_version(wrapped text) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN coalesce(substring(wrapped, '^[a-z]+:v([1-9][0-9]{0,8}):')::int, 0);
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION rotation_moves() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'moving' OR NEW.version <= (SELECT max(version) FROM rotations) THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'rotations_transition';
    END IF;
  ELSIF NEW.version <> OLD.version OR NEW.day <> OLD.day OR NEW.records < OLD.records
     OR (OLD.state, NEW.state) NOT IN (('moving', 'moving'), ('moving', 'closed'), ('closed', 'closed'), ('closed', 'done')) THEN
    RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'rotations_transition';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON rotations FOR EACH ROW EXECUTE FUNCTION rotation_moves();
CREATE TRIGGER no_delete BEFORE DELETE ON rotations FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON rotations EXECUTE FUNCTION never();

-- close_rotation waits for the enrolments under way (see enters) and lets none
-- in behind: from here on no record of an older version appears.
-- +goose StatementBegin
CREATE FUNCTION close_rotation(integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  LOCK TABLE rotations IN EXCLUSIVE MODE;
  UPDATE rotations SET state = 'closed', position = '' WHERE version = $1 AND state = 'moving';
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION enters() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  LOCK TABLE rotations IN ROW SHARE MODE;
  IF EXISTS (SELECT FROM entered WHERE key_version(first_half) < (SELECT max(version) FROM rotations WHERE state <> 'moving')) THEN
    RAISE EXCEPTION 'older key' USING ERRCODE = 'check_violation', CONSTRAINT = 'records_key_version';
  END IF;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER enters AFTER INSERT ON records REFERENCING NEW TABLE AS entered FOR EACH STATEMENT EXECUTE FUNCTION enters();

-- -------------------------------------------------------------- erasures --

-- A wish, and what became of it. The salt opens the commitment in the log: it
-- is the person's receipt. Label and salt lead to nobody: the row of the person
-- names another record, or a tombstone.
CREATE TABLE erasures (
  label   text COLLATE "C" PRIMARY KEY REFERENCES records,
  salt    bytea  NOT NULL CHECK (octet_length(salt) = 32),
  day     date   NOT NULL CHECK (isfinite(day)),
  cleared bigint CHECK (cleared >= -1),                 -- no case up to this leaf holds it; -1: there was none
  leaf    bigint UNIQUE REFERENCES log_leaves,          -- carried out
  version int,                                          -- of the key that copies of it may be under
  CHECK ((leaf IS NULL) = (version IS NULL)),
  CHECK (leaf IS NULL OR cleared IS NOT NULL)
);

-- A leaf that was there before could lie in front of a case that holds the
-- record: it comes in one transaction with the erasure, or is of one that a
-- backup lost (lost_leaves).
-- +goose StatementBegin
CREATE FUNCTION erasure_moves() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' AND (NEW.cleared IS NOT NULL OR NEW.leaf IS NOT NULL)
     OR TG_OP = 'UPDATE' AND (NEW.label <> OLD.label OR NEW.salt <> OLD.salt OR NEW.day <> OLD.day OR OLD.leaf IS NOT NULL) THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'erasures_fixed';
  ELSIF NEW.leaf IS NOT NULL AND NOT EXISTS (SELECT FROM log_leaves WHERE index = NEW.leaf AND xmin = pg_current_xact_id()::xid)
     AND NOT EXISTS (SELECT FROM lost_leaves WHERE leaf = NEW.leaf) THEN
    RAISE EXCEPTION 'earlier' USING ERRCODE = 'check_violation', CONSTRAINT = 'erasures_leaf';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON erasures FOR EACH ROW EXECUTE FUNCTION erasure_moves();
CREATE TRIGGER no_delete BEFORE DELETE ON erasures FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON erasures EXECUTE FUNCTION never();

-- What stays of an erased record is its label and the day.
ALTER TABLE records ADD COLUMN erased date CHECK (isfinite(erased));
ALTER TABLE records
  DROP CONSTRAINT records_first_half_check, DROP CONSTRAINT records_second_half_check, DROP CONSTRAINT records_sealed_check,
  ADD CONSTRAINT records_whole CHECK (
    erased IS NULL AND octet_length(first_half) BETWEEN 1 AND 1024 AND octet_length(second_half) BETWEEN 1 AND 4096 AND octet_length(sealed) BETWEEN 1 AND 1048576
    OR erased IS NOT NULL AND first_half = '' AND second_half = '' AND sealed = '');

-- A record changes in two ways only: its first half moves to a newer key, or it
-- is erased, which needs the wish, the leaf and the word of the disclosing side
-- that no case holds it; a case recorded between its word and the leaf counts as
-- one that may.
-- +goose StatementBegin
CREATE FUNCTION record_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF OLD.erased IS NOT NULL OR (NEW.label, NEW.day) <> (OLD.label, OLD.day) THEN
    RAISE EXCEPTION 'append-only' USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only';
  ELSIF NEW.erased IS NULL THEN
    IF (NEW.second_half, NEW.sealed) IS DISTINCT FROM (OLD.second_half, OLD.sealed)
       OR key_version(NEW.first_half) <= key_version(OLD.first_half) THEN
      RAISE EXCEPTION 'append-only' USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only';
    END IF;
  ELSIF NOT EXISTS (SELECT FROM erasures e WHERE e.label = OLD.label AND e.leaf IS NOT NULL
                    AND NOT EXISTS (SELECT FROM cases WHERE recorded_leaf > e.cleared AND recorded_leaf < e.leaf)) THEN
    RAISE EXCEPTION 'held' USING ERRCODE = 'check_violation', CONSTRAINT = 'records_held';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
DROP TRIGGER no_change ON records;
CREATE TRIGGER no_change BEFORE UPDATE ON records FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION record_changes();

-- Who deleted themself and comes back is the same person, with another record:
-- one that is stored after this, and so nobody else's.
-- +goose StatementBegin
CREATE FUNCTION person_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF (NEW.id, NEW.fingerprint, NEW.likeness, NEW.birth, NEW.day) IS DISTINCT FROM (OLD.id, OLD.fingerprint, OLD.likeness, OLD.birth, OLD.day)
     OR NOT EXISTS (SELECT FROM erasures WHERE label = OLD.label) OR EXISTS (SELECT FROM records WHERE label = NEW.label) THEN
    RAISE EXCEPTION 'append-only' USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
DROP TRIGGER no_change ON persons;
CREATE TRIGGER no_change BEFORE UPDATE ON persons FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION person_changes();

-- A pen name has one link and commitment for each record that its person had.
ALTER TABLE pseudonyms DROP CONSTRAINT pseudonyms_pkey, ADD CONSTRAINT pseudonyms_pkey PRIMARY KEY (pseudonym, commitment);

-- The keeping side appends one kind of leaf.
-- +goose StatementBegin
CREATE FUNCTION keeping_leaf() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF current_user = 'penname_keeping' AND convert_from(NEW.leaf, 'UTF8')::json ->> 'kind' IS DISTINCT FROM 'erased' THEN
    RAISE EXCEPTION 'kind' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_leaves_keeping';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER keeping_leaf BEFORE INSERT ON log_leaves FOR EACH ROW EXECUTE FUNCTION keeping_leaf();
