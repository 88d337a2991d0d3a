-- +goose Up

-- What is noted of pen names: what their persons call them, that one is retired, that its
-- platform reports a ban. A row is about a pen name at one platform, and no person. Its
-- place is keyed (RowKey), and what it says is sealed, in one length.
CREATE TABLE notes (
  place  bytea PRIMARY KEY CHECK (octet_length(place) = 16), -- of the kind of note and the pen name
  hidden bytea NOT NULL CHECK (octet_length(hidden) = 156),
  day    date  NOT NULL CHECK (isfinite(day))                -- on which it was written last
);
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON notes EXECUTE FUNCTION never();
CREATE TRIGGER no_delete BEFORE DELETE ON notes FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_move BEFORE UPDATE ON notes FOR EACH ROW WHEN (OLD.place IS DISTINCT FROM NEW.place) EXECUTE FUNCTION never();

-- It is put into order like the rest (see 00001).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION mix() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE t text; c text;
BEGIN
  FOR t, c IN VALUES ('records', 'day'), ('persons', 'day'), ('pseudonyms', 'day'), ('handles', 'day'), ('notes', 'day'), ('erasures', 'day'), ('reviews', 'day'), ('sessions', 'expires'),
                     ('openid_rows', 'expires'), ('openid_used', 'expires'), ('openid_entries', 'expires') LOOP
    EXECUTE format('UPDATE %1$I SET %2$I = %2$I WHERE %2$I IN
      (SELECT %2$I FROM %1$I GROUP BY 1 HAVING count(DISTINCT xmin::text) > 1)', t, c);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION sort(t text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF t NOT IN ('records', 'persons', 'pseudonyms', 'handles', 'notes', 'erasures', 'reviews', 'sessions', 'openid_rows', 'openid_used', 'openid_entries') THEN
    RAISE EXCEPTION 'no such table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('CLUSTER %I USING %I', t, t || '_pkey');
END $$;
-- +goose StatementEnd
