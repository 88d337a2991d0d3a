-- +goose Up

-- An authority's warrants, newest first: whether it has had its number of a day is
-- read from one row.
CREATE INDEX cases_by_authority ON cases (authority, recorded_leaf) WHERE kind <> 'withdrawal';
