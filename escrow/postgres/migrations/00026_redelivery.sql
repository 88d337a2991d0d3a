-- +goose Up

-- A redelivery waits for custodians, and runs out, as the production that it repeats.
DROP INDEX cases_for_custodians, cases_for_expiry;
CREATE INDEX cases_for_custodians ON cases (expires, recorded_leaf)
  WHERE waiting > 0 AND state IN ('recorded', 'authorised', 'released') AND kind IN ('production', 'emergency', 'suspension', 'link', 'redelivery');
CREATE INDEX cases_for_expiry ON cases (expires, recorded_leaf)
  WHERE (state IN ('recorded', 'authorised') OR state = 'released' AND waiting > 0) AND kind IN ('production', 'emergency', 'suspension', 'link', 'preservation', 'redelivery');
