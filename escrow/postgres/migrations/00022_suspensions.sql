-- +goose Up

-- The pen names that courts suspended, for the issuing side, which reads no case: a row for
-- each target of an order, from the transaction on in which it was authorised. Its place is
-- keyed (RowKey) over the pen name, and what it says is sealed, in one length.
CREATE TABLE suspensions (
  leaf    bigint NOT NULL REFERENCES log_leaves,              -- by which it came into force
  target  int    NOT NULL CHECK (target >= 0),                -- its place in the warrant
  case_id text COLLATE "C" NOT NULL REFERENCES cases,
  place   bytea  NOT NULL CHECK (octet_length(place) = 16),
  hidden  bytea  NOT NULL CHECK (octet_length(hidden) = 284), -- pen name, platform, day, leaf of the warrant
  PRIMARY KEY (leaf, target)
);
CREATE INDEX suspensions_by_place ON suspensions (place);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON suspensions FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON suspensions EXECUTE FUNCTION never();
CREATE TRIGGER case_is_in BEFORE INSERT ON suspensions FOR EACH ROW EXECUTE FUNCTION case_is_in('authorised');

-- Those in force, until they expire: what ends the case ends them in the same transaction.
CREATE VIEW suspensions_in_force AS
  SELECT s.leaf, s.place, s.hidden, c.expires FROM suspensions s JOIN cases c ON c.id = s.case_id
    JOIN case_targets t ON t.case_id = s.case_id AND t.target = s.target
  WHERE c.kind = 'suspension' AND c.state IN ('authorised', 'noticed') AND t.state = 'authorised';

-- What the person is told: of which kind the order was, and until which day it holds.
ALTER TABLE notices
  ADD COLUMN kind  text NOT NULL DEFAULT 'production' CHECK (octet_length(kind) BETWEEN 1 AND 64),
  ADD COLUMN until date CHECK (isfinite(until)), -- of a suspension
  ADD COLUMN target smallint CHECK (target >= 0); -- place in the warrant; NULL: before targets were decided one by one
ALTER TABLE notices ALTER COLUMN kind DROP DEFAULT;

-- With what has become of it since: what the person reads stays true after they were told.
CREATE VIEW notices_now AS
  SELECT n.*, coalesce(t.state, '') AS state, coalesce(t.code, '') AS code, d.case_id IS NOT NULL AS deleted
  FROM notices n LEFT JOIN case_targets t ON t.case_id = n.case_id AND t.target = n.target
    LEFT JOIN deletions d ON d.case_id = n.case_id;

-- Orders to link, for the issuing side, which alone makes pen names: the disclosing side
-- leaves one when its case is authorised, sealed under the row key, for it holds the label of
-- a record. It goes with the answer, which is encrypted to the requester.
CREATE TABLE link_orders (
  case_id text COLLATE "C" PRIMARY KEY REFERENCES cases,
  ask     bytea CHECK (octet_length(ask) BETWEEN 1 AND 268435456),
  answer  bytea CHECK (octet_length(answer) BETWEEN 1 AND 67108864),
  refused text  CHECK (refused ~ '^[a-z][a-z0-9_]*([.][a-z0-9_]+)+$' AND octet_length(refused) <= 64),
  CONSTRAINT link_orders_answer CHECK (num_nonnulls(ask, answer, refused) = 1)
);
ALTER TABLE link_orders ALTER ask SET STORAGE EXTERNAL, ALTER answer SET STORAGE EXTERNAL; -- ciphertext does not compress
-- +goose StatementBegin
CREATE FUNCTION link_moves() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF OLD.case_id IS DISTINCT FROM NEW.case_id OR OLD.ask IS NULL OR NEW.ask IS NOT NULL THEN
    RAISE EXCEPTION 'answered' USING ERRCODE = 'check_violation', CONSTRAINT = 'link_orders_answered_once';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE UPDATE ON link_orders FOR EACH ROW EXECUTE FUNCTION link_moves();
CREATE TRIGGER case_is_in BEFORE INSERT ON link_orders FOR EACH ROW EXECUTE FUNCTION case_is_in('authorised');
CREATE TRIGGER no_delete BEFORE DELETE ON link_orders FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON link_orders EXECUTE FUNCTION never();
