-- +goose Up

-- Which programs may run on a schema that is newer than theirs. Each migration from the
-- next one on adds a row, as its last statement:
--
--   INSERT INTO side_by_side (version, since, changes) VALUES (32, 31, '{+ index a, - index b, + penname_issuing notes.day SELECT}');
--
-- Programs of schema since and later may run on it. changes are the guards and the grants
-- that it adds and takes away: a line of guards.txt, or a role and what it may.
CREATE TABLE side_by_side (
  version bigint PRIMARY KEY,
  since bigint NOT NULL CHECK (since BETWEEN 31 AND version),
  changes text[] NOT NULL DEFAULT '{}'
);
INSERT INTO side_by_side (version, since) VALUES (31, 31);
