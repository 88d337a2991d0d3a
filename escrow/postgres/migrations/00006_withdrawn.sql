-- +goose Up

-- A court takes back what it ordered: the case ends, before it was released, in
-- the transaction of the withdrawal's leaf.
ALTER TABLE cases
  DROP CONSTRAINT cases_state_check,
  ADD CONSTRAINT cases_state_check CHECK (state IN ('recorded', 'authorised', 'released', 'noticed', 'declined', 'lost', 'withdrawn')),
  DROP CONSTRAINT cases_state_has_leaf,
  ADD CONSTRAINT cases_state_has_leaf CHECK (
    (state IN ('lost', 'withdrawn') OR
      (authorised_leaf IS NOT NULL) = (state IN ('authorised', 'released', 'noticed')) AND
      (released_leaf   IS NOT NULL) = (state IN ('released', 'noticed'))) AND
    (released_leaf IS NULL OR authorised_leaf IS NOT NULL AND state <> 'withdrawn') AND
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
