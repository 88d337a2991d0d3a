-- +goose Up

-- What ran out is expired, with its leaf. Cases are listed by what they wait
-- for, each list from an index that holds what waits and nothing else.

ALTER TABLE cases
  ADD COLUMN kind text CHECK (octet_length(kind) <= 64), -- of the warrant, as in its leaf
  ADD COLUMN expired_leaf bigint UNIQUE REFERENCES log_leaves;
ALTER TABLE cases DISABLE TRIGGER moves;
UPDATE cases c SET kind = (SELECT convert_from(g.leaf, 'UTF8')::json ->> 'warrant_kind' FROM log_leaves g WHERE g.index = c.recorded_leaf);
ALTER TABLE cases ENABLE TRIGGER moves;
ALTER TABLE cases
  ALTER COLUMN kind SET NOT NULL,
  DROP CONSTRAINT cases_state_check,
  DROP CONSTRAINT cases_state_has_leaf,
  DROP CONSTRAINT cases_leaf_order,
  ADD CONSTRAINT cases_state_check CHECK (state IN ('recorded', 'authorised', 'released', 'noticed', 'declined', 'withdrawn', 'expired', 'lost')),
  -- Log before reveal (ATTACKS, lesson 1): a state is reached with its leaf,
  -- and the leaves of a case stand in the order of its states.
  ADD CONSTRAINT cases_state_has_leaf CHECK (
    (state IN ('lost', 'withdrawn', 'expired') OR
      (authorised_leaf IS NOT NULL) = (state IN ('authorised', 'released', 'noticed')) AND
      (released_leaf   IS NOT NULL) = (state IN ('released', 'noticed'))) AND
    (released_leaf IS NULL OR authorised_leaf IS NOT NULL AND state NOT IN ('withdrawn', 'expired')) AND
    (expired_leaf  IS NOT NULL) = (state = 'expired') AND
    (noticed_leaf  IS NOT NULL) = (state = 'noticed') AND
    (state = 'noticed' OR (package IS NOT NULL) = (state = 'released'))),
  ADD CONSTRAINT cases_leaf_order CHECK (
    authorised_leaf > recorded_leaf AND released_leaf > authorised_leaf AND noticed_leaf > released_leaf AND
    expired_leaf > recorded_leaf AND expired_leaf > authorised_leaf);

DROP INDEX cases_by_state;
CREATE INDEX cases_for_custodians ON cases (expires, recorded_leaf) WHERE state = 'recorded' AND kind = 'production';
CREATE INDEX cases_for_notice     ON cases (secrecy_ends, recorded_leaf) WHERE state IN ('released', 'lost') AND released_leaf IS NOT NULL;
CREATE INDEX cases_for_expiry     ON cases (expires, recorded_leaf) WHERE state IN ('recorded', 'authorised') AND kind <> 'withdrawal';
CREATE INDEX cases_holding        ON cases (recorded_leaf) WHERE state IN ('recorded', 'authorised', 'lost', 'released');

-- Invariants I3 and I8: the state moves along its arrows only, and to
-- authorised only with the approvals of a quorum of distinct custodians.
--
-- A case that moved on in what was lost is closed: nobody approves it a second
-- time, and nothing is released from it. What stays owed is the notice, if it was
-- released. A case that was noticed has no package if that is lost.
--
-- A court takes back what it ordered: the case ends, before it was released, in
-- the transaction of the withdrawal's leaf.
--
-- The arrows are those of disclose.Life, to which a test holds them.
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
      NEW.kind, NEW.secrecy_ends, NEW.expires, NEW.approve_from, NEW.recorded_leaf)
     IS DISTINCT FROM
     (OLD.id, OLD.warrant_hash, OLD.authority, OLD.warrant_id, OLD.submission, OLD.bundle, OLD.salt, OLD.quorum,
      OLD.kind, OLD.secrecy_ends, OLD.expires, OLD.approve_from, OLD.recorded_leaf)
     OR coalesce(OLD.authorised_leaf, NEW.authorised_leaf) IS DISTINCT FROM NEW.authorised_leaf
     OR coalesce(OLD.released_leaf, NEW.released_leaf) IS DISTINCT FROM NEW.released_leaf
     OR coalesce(OLD.expired_leaf, NEW.expired_leaf) IS DISTINCT FROM NEW.expired_leaf
     OR coalesce(OLD.noticed_leaf, NEW.noticed_leaf) IS DISTINCT FROM NEW.noticed_leaf
     OR coalesce(OLD.package, NEW.package) IS DISTINCT FROM NEW.package THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_fixed';
  END IF;
  IF (OLD.state, NEW.state) NOT IN (('recorded', 'authorised'), ('recorded', 'declined'), ('authorised', 'released'), ('released', 'noticed'),
     ('recorded', 'lost'), ('authorised', 'lost'), ('lost', 'lost'), ('lost', 'noticed'),
     ('recorded', 'withdrawn'), ('authorised', 'withdrawn'),
     ('recorded', 'expired'), ('authorised', 'expired'), ('lost', 'expired')) THEN
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
