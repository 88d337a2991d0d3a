-- +goose Up

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

-- A case that moved on in what was lost is closed: nobody approves it a second
-- time, and nothing is released from it. What stays owed is the notice, if it was
-- released. A case that was noticed has no package if that is lost.
ALTER TABLE cases
  DROP CONSTRAINT cases_state_check,
  ADD CONSTRAINT cases_state_check CHECK (state IN ('recorded', 'authorised', 'released', 'noticed', 'declined', 'lost')),
  DROP CONSTRAINT cases_state_has_leaf,
  ADD CONSTRAINT cases_state_has_leaf CHECK (
    (state = 'lost' OR
      (authorised_leaf IS NOT NULL) = (state IN ('authorised', 'released', 'noticed')) AND
      (released_leaf   IS NOT NULL) = (state IN ('released', 'noticed'))) AND
    (released_leaf IS NULL OR authorised_leaf IS NOT NULL) AND
    (noticed_leaf  IS NOT NULL) = (state = 'noticed') AND
    (state = 'noticed' OR (package IS NOT NULL) = (state = 'released')));

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION case_moves() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
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
     ('recorded', 'lost'), ('authorised', 'lost'), ('lost', 'lost'), ('lost', 'noticed')) THEN
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
  RETURN NEW;
END $$;
-- +goose StatementEnd
