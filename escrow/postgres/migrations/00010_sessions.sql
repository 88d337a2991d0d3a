-- +goose Up

-- Sessions of people at Penname, and their ends: one row for each event, which is
-- never written again, so that no two rows are seen to be of one person or one
-- session. The handle is keyed, what it hides is sealed and has one length.
CREATE TABLE sessions (
  handle  bytea PRIMARY KEY CHECK (octet_length(handle) = 32),
  hidden  bytea NOT NULL CHECK (octet_length(hidden) = 124),
  expires timestamptz NOT NULL CHECK (isfinite(expires) AND expires = date_trunc('day', expires, 'UTC'))
);
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON sessions EXECUTE FUNCTION never();
CREATE TRIGGER no_change BEFORE UPDATE ON sessions FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION never();
