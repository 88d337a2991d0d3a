-- +goose NO TRANSACTION
-- +goose Up

-- A record key for each group of people (escrow/keep/groups.go). Every step can be taken
-- twice, and none rewrites a large table.

-- The group in "g17:vault:v12:…". What names none is of group 0. Not STRICT, because no such
-- function is put into the expression that calls it.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION key_group(wrapped text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN coalesce(substring(wrapped, '^g([1-9][0-9]{0,8}):')::int, 0);
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION key_version(wrapped text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN coalesce(substring(wrapped, '^(?:g[1-9][0-9]{0,8}:)?[a-z]+:v([1-9][0-9]{0,8}):')::int, 0);
-- +goose StatementEnd

-- The group of a record, which it keeps: those of before are of group 0. No index has the half
-- itself, and a page has room for a second half of each record on it, so a rotation writes
-- nothing but the pages of its group.
ALTER TABLE records ADD COLUMN IF NOT EXISTS key_group int NOT NULL DEFAULT 0;
ALTER TABLE records SET (fillfactor = 50);

-- What was left of an interrupted one is not valid.
DROP INDEX CONCURRENTLY IF EXISTS records_of_group;
CREATE INDEX CONCURRENTLY records_of_group ON records (key_group, label) WHERE erased IS NULL;

-- The rest is small, and one transaction.
-- +goose StatementBegin
-- On which days those who enrol come into a group: from the one on, up to before the other.
CREATE TABLE IF NOT EXISTS key_groups (
  number int  PRIMARY KEY CHECK (number >= 1),
  opened date NOT NULL CHECK (isfinite(opened)),
  closed date CHECK (isfinite(closed)), -- not yet decided
  CHECK (closed > opened)
);
CREATE INDEX IF NOT EXISTS key_groups_closed ON key_groups (closed);

CREATE OR REPLACE FUNCTION group_moves() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' AND (NEW.closed IS NOT NULL OR NEW.number <> 1 + (SELECT coalesce(max(number), 0) FROM key_groups)
       OR NEW.opened < (SELECT max(opened) FROM key_groups))
     OR TG_OP = 'UPDATE' AND ((NEW.number, NEW.opened) <> (OLD.number, OLD.opened) OR OLD.closed IS NOT NULL) THEN
    RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'key_groups_transition';
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER moves BEFORE INSERT OR UPDATE ON key_groups FOR EACH ROW EXECUTE FUNCTION group_moves();
CREATE OR REPLACE TRIGGER no_delete BEFORE DELETE ON key_groups FOR EACH ROW EXECUTE FUNCTION never();
CREATE OR REPLACE TRIGGER no_truncate BEFORE TRUNCATE ON key_groups EXECUTE FUNCTION never();

-- A rotation is of one group. step counts what rotations did, in the order in which it was
-- done: an older key service lacks something of what was done last.
ALTER TABLE rotations ADD COLUMN IF NOT EXISTS key_group int NOT NULL DEFAULT 0, ADD COLUMN IF NOT EXISTS step bigint NOT NULL DEFAULT 0;
ALTER TABLE rotations DROP CONSTRAINT IF EXISTS rotations_pkey, ADD CONSTRAINT rotations_pkey PRIMARY KEY (key_group, version);
DROP INDEX IF EXISTS rotations_one, rotations_step;
CREATE UNIQUE INDEX rotations_one ON rotations (key_group) WHERE state <> 'done';
CREATE INDEX rotations_step ON rotations (step);

CREATE OR REPLACE FUNCTION rotation_moves() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'moving' OR NEW.version <= (SELECT max(version) FROM rotations WHERE key_group = NEW.key_group)
       OR NEW.key_group <> 0 AND NOT EXISTS (SELECT FROM key_groups WHERE number = NEW.key_group) THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'rotations_transition';
    END IF;
  ELSIF (NEW.key_group, NEW.version, NEW.day) <> (OLD.key_group, OLD.version, OLD.day) OR NEW.records < OLD.records
     OR (OLD.state, NEW.state) NOT IN (('moving', 'moving'), ('moving', 'closed'), ('closed', 'closed'), ('closed', 'done')) THEN
    RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'rotations_transition';
  END IF;
  NEW.step := 1 + (SELECT coalesce(max(step), 0) FROM rotations);
  RETURN NEW;
END $$;

DROP FUNCTION IF EXISTS close_rotation(integer);
CREATE OR REPLACE FUNCTION close_rotation(version integer, key_group integer DEFAULT 0) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  LOCK TABLE rotations IN EXCLUSIVE MODE;
  UPDATE rotations r SET state = 'closed', position = '' WHERE r.version = $1 AND r.key_group = $2 AND r.state = 'moving';
END $$;

CREATE OR REPLACE FUNCTION record_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF OLD.erased IS NOT NULL OR (NEW.label, NEW.day, NEW.key_group) <> (OLD.label, OLD.day, OLD.key_group) THEN
    RAISE EXCEPTION 'append-only' USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only';
  ELSIF NEW.erased IS NULL THEN
    IF (NEW.second_half, NEW.sealed) IS DISTINCT FROM (OLD.second_half, OLD.sealed)
       OR key_group(NEW.first_half) <> OLD.key_group OR key_version(NEW.first_half) <= key_version(OLD.first_half) THEN
      RAISE EXCEPTION 'append-only' USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only';
    END IF;
  ELSIF NOT EXISTS (SELECT FROM erasures e WHERE e.label = OLD.label AND e.leaf IS NOT NULL
                    AND NOT EXISTS (SELECT FROM cases WHERE recorded_leaf > e.cleared AND recorded_leaf < e.leaf)) THEN
    RAISE EXCEPTION 'held' USING ERRCODE = 'check_violation', CONSTRAINT = 'records_held';
  END IF;
  RETURN NEW;
END $$;

-- The group of an erased record, whose key its version is of.
ALTER TABLE erasures ADD COLUMN IF NOT EXISTS key_group int NOT NULL DEFAULT 0;

-- The groups of which a copy of an erased record can be under that version or an older one,
-- which no finished rotation destroyed.
CREATE TABLE IF NOT EXISTS groups_waiting (
  key_group int PRIMARY KEY,
  version   int NOT NULL
);
CREATE OR REPLACE FUNCTION erasure_waits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  INSERT INTO groups_waiting AS w VALUES (NEW.key_group, NEW.version)
    ON CONFLICT (key_group) DO UPDATE SET version = greatest(w.version, NEW.version);
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER waits AFTER UPDATE ON erasures FOR EACH ROW WHEN (OLD.leaf IS NULL AND NEW.leaf IS NOT NULL) EXECUTE FUNCTION erasure_waits();
CREATE OR REPLACE FUNCTION rotation_ends() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  DELETE FROM groups_waiting WHERE key_group = NEW.key_group AND version < NEW.version;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER ends AFTER UPDATE ON rotations FOR EACH ROW WHEN (NEW.state = 'done') EXECUTE FUNCTION rotation_ends();

-- Which groups, and what rotations up to which step made, is in a snapshot of the key service at least.
ALTER TABLE snapshots ADD COLUMN IF NOT EXISTS key_group int NOT NULL DEFAULT 0, ADD COLUMN IF NOT EXISTS step bigint NOT NULL DEFAULT 0, ALTER COLUMN version SET DEFAULT 1;
UPDATE snapshots SET step = -1 WHERE version < (SELECT max(version) FROM rotations); -- of before the last rotation
ALTER TABLE snapshots DROP CONSTRAINT IF EXISTS snapshots_pkey, ADD CONSTRAINT snapshots_pkey PRIMARY KEY (day, version, key_group, step);
-- +goose StatementEnd

-- No record comes in under an older version of its group's key, and none into a group on a
-- day on which it is not open: that would tell when on that day. What the same statement
-- deletes (mix_some of 00029) was in: a function that is STABLE sees the table as it was
-- before the statement, and one that is not sees the rotations of now.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION may_enter(into_group int, under int, at date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE newest int; opened boolean;
BEGIN
  LOCK TABLE rotations IN ROW SHARE MODE;
  SELECT (SELECT max(version) FROM rotations WHERE key_group = into_group AND state <> 'moving'),
    into_group = 0 OR EXISTS (SELECT FROM key_groups g WHERE g.number = into_group AND at >= g.opened AND (g.closed IS NULL OR at < g.closed))
    INTO newest, opened;
  IF under < newest THEN
    RAISE EXCEPTION 'older key' USING ERRCODE = 'check_violation', CONSTRAINT = 'records_key_version';
  ELSIF NOT opened THEN
    RAISE EXCEPTION 'group' USING ERRCODE = 'check_violation', CONSTRAINT = 'records_key_group';
  END IF;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION record_enters() RETURNS trigger LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM records r WHERE r.label = NEW.label AND r.first_half = NEW.first_half AND r.day = NEW.day) THEN
    NEW.key_group := key_group(NEW.first_half);
    PERFORM may_enter(NEW.key_group, key_version(NEW.first_half), NEW.day);
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE OR REPLACE TRIGGER enters BEFORE INSERT ON records FOR EACH ROW EXECUTE FUNCTION record_enters();
DROP FUNCTION IF EXISTS enters();

-- Those of before.
INSERT INTO groups_waiting SELECT key_group, max(version) FROM erasures WHERE leaf IS NOT NULL GROUP BY key_group ON CONFLICT DO NOTHING;
DELETE FROM groups_waiting w WHERE EXISTS (SELECT FROM rotations r WHERE r.key_group = w.key_group AND r.version > w.version AND r.state = 'done');
