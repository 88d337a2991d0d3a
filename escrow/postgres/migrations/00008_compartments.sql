-- +goose Up

-- The compartments of each target's record that the fields of the warrant are in,
-- as they were when it was filed: [["identity"], …]. NULL: one share for each
-- target, in rows of before.
ALTER TABLE cases ADD COLUMN compartments json CHECK (octet_length(compartments::text) BETWEEN 2 AND 1048576);
