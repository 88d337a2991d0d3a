-- +goose Up

-- That a snapshot of the key service was taken and checked (escrow/keep/snapshot.go):
-- on which day, and which version of the record key is in it at least.
CREATE TABLE snapshots (
  day     date NOT NULL CHECK (isfinite(day)),
  version int  NOT NULL CHECK (version >= 1),
  PRIMARY KEY (day, version)
);
