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

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION mix() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE t text; c text;
BEGIN
  FOR t, c IN VALUES ('records', 'day'), ('persons', 'day'), ('pseudonyms', 'day'), ('erasures', 'day'), ('sessions', 'expires'),
                     ('openid_rows', 'expires'), ('openid_used', 'expires'), ('openid_entries', 'expires') LOOP
    EXECUTE format('UPDATE %1$I SET %2$I = %2$I WHERE %2$I IN
      (SELECT %2$I FROM %1$I GROUP BY 1 HAVING count(DISTINCT xmin::text) > 1)', t, c);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION sort(t text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF t NOT IN ('records', 'persons', 'pseudonyms', 'erasures', 'sessions', 'openid_rows', 'openid_used', 'openid_entries') THEN
    RAISE EXCEPTION 'no such table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('CLUSTER %I USING %I', t, t || '_pkey');
END $$;
-- +goose StatementEnd
