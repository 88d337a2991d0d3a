-- +goose Up

-- The short names that platforms may show for pen names, one row each, for ever: also
-- when the person is deleted, so that nobody else is ever called the same there. A row is
-- about a pen name at one platform, and no person. Both its values are keyed (RowKey): it
-- says neither the name nor the platform, and no two rows have a value in common.
CREATE TABLE handles (
  place bytea PRIMARY KEY CHECK (octet_length(place) = 16), -- of the handle at the platform
  owner bytea NOT NULL CHECK (octet_length(owner) = 16),    -- of the pen name that has it
  day   date  NOT NULL CHECK (isfinite(day))
);
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON handles EXECUTE FUNCTION never();
CREATE TRIGGER no_delete BEFORE DELETE ON handles FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_change BEFORE UPDATE ON handles FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION never();

-- It is put into order like the rest (see 00001).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION mix() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE t text; c text;
BEGIN
  FOR t, c IN VALUES ('records', 'day'), ('persons', 'day'), ('pseudonyms', 'day'), ('handles', 'day'), ('erasures', 'day'), ('reviews', 'day'), ('sessions', 'expires'),
                     ('openid_rows', 'expires'), ('openid_used', 'expires'), ('openid_entries', 'expires') LOOP
    EXECUTE format('UPDATE %1$I SET %2$I = %2$I WHERE %2$I IN
      (SELECT %2$I FROM %1$I GROUP BY 1 HAVING count(DISTINCT xmin::text) > 1)', t, c);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION sort(t text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF t NOT IN ('records', 'persons', 'pseudonyms', 'handles', 'erasures', 'reviews', 'sessions', 'openid_rows', 'openid_used', 'openid_entries') THEN
    RAISE EXCEPTION 'no such table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('CLUSTER %I USING %I', t, t || '_pkey');
END $$;
-- +goose StatementEnd
