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
  WHERE c.kind = 'suspension' AND c.state IN ('authorised', 'noticed');

-- What the person is told: of which kind the order was, and until which day it holds.
ALTER TABLE notices
  ADD COLUMN kind  text NOT NULL DEFAULT 'production' CHECK (octet_length(kind) BETWEEN 1 AND 64),
  ADD COLUMN until date CHECK (isfinite(until)); -- of a suspension
ALTER TABLE notices ALTER COLUMN kind DROP DEFAULT;
