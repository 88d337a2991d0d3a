-- +goose Up

-- What an identity provider vouches for, one row each person, of one length for all. It is
-- told for twelve months, and kept for a year more: what a platform was told before is
-- counted with what it is told next. The place is keyed (RowKey) over the person and the record. What is sealed
-- opens only under a key that is made from the person's account, which stands nowhere here.
CREATE TABLE claims (
  place   bytea PRIMARY KEY CHECK (octet_length(place) = 32),
  sealed  bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 64 AND 4096),
  expires date  NOT NULL CHECK (isfinite(expires))
);

-- How many people have a combination of claims, of a month. The id is a MAC under a key
-- that is not in the database. Everybody counts in the same number of rows.
CREATE TABLE claim_counts (
  id      bytea  PRIMARY KEY CHECK (octet_length(id) = 32),
  n       bigint NOT NULL CHECK (n > 0),
  expires date   NOT NULL CHECK (isfinite(expires))
);

-- What platforms were told, a row each claim, for ever: they do not forget it either. The
-- place is a MAC under a key that is not in the database, so that it is found by whichever
-- account the person comes; the value is under the key of the sealed claims.
CREATE TABLE claims_told (
  place bytea PRIMARY KEY CHECK (octet_length(place) = 32), -- of person, sector and claim
  value bytea NOT NULL CHECK (octet_length(value) = 16),    -- and of what it was, when
  day   date  NOT NULL CHECK (isfinite(day))
);
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON claims_told EXECUTE FUNCTION never();
CREATE TRIGGER no_delete BEFORE DELETE ON claims_told FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_change BEFORE UPDATE ON claims_told FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION never();

-- take_claims replaces a person's claims and counts: it is the only way to count. It does
-- nothing and returns false if something else than was is stored, or if the erasure of the
-- record was asked for; true also if now is stored already, as after a lost answer.
--
-- One at a time: nearly everybody counts in the same few rows, which would wait anyway, and
-- so no two wait for each other. Whoever asks to be deleted does so before their claims are
-- taken away, so that the lock puts one of the two after both.
-- +goose StatementBegin
CREATE FUNCTION take_claims(at bytea, was bytea, now bytea, until date, up bytea[], down bytea[], record text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  LOCK TABLE claim_counts IN EXCLUSIVE MODE;
  IF now IS NOT NULL AND EXISTS (SELECT FROM erasures WHERE label = record) THEN
    RETURN false;
  END IF;
  IF EXISTS (SELECT FROM claims WHERE place = at AND sealed = now) OR now IS NULL AND NOT EXISTS (SELECT FROM claims WHERE place = at) THEN
    RETURN true;
  END IF;
  IF now IS NULL THEN
    DELETE FROM claims WHERE place = at AND sealed = was;
  ELSIF was IS NULL THEN
    INSERT INTO claims (place, sealed, expires) VALUES (at, now, until + interval '1 year') ON CONFLICT DO NOTHING;
  ELSE
    UPDATE claims SET sealed = now, expires = until + interval '1 year' WHERE place = at AND sealed = was;
  END IF;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO claim_counts AS c (id, n, expires) SELECT id, 1, until FROM unnest(up) id ON CONFLICT (id) DO UPDATE SET n = c.n + 1;
  DELETE FROM claim_counts WHERE id = ANY (down) AND n = 1;
  UPDATE claim_counts SET n = n - 1 WHERE id = ANY (down) AND n > 1;
  RETURN true;
END $$;
-- +goose StatementEnd

-- They are put into order like the rest (see 00001).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION mix() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE t text; c text;
BEGIN
  FOR t, c IN VALUES ('records', 'day'), ('persons', 'day'), ('pseudonyms', 'day'), ('handles', 'day'), ('notes', 'day'), ('erasures', 'day'), ('reviews', 'day'), ('sessions', 'expires'),
                     ('claims', 'expires'), ('claim_counts', 'expires'), ('claims_told', 'day'),
                     ('openid_rows', 'expires'), ('openid_used', 'expires'), ('openid_entries', 'expires') LOOP
    EXECUTE format('UPDATE %1$I SET %2$I = %2$I WHERE %2$I IN
      (SELECT %2$I FROM %1$I GROUP BY 1 HAVING count(DISTINCT xmin::text) > 1)', t, c);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION sort(t text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF t NOT IN ('records', 'persons', 'pseudonyms', 'handles', 'notes', 'erasures', 'reviews', 'sessions', 'claims', 'claim_counts', 'claims_told', 'openid_rows', 'openid_used', 'openid_entries') THEN
    RAISE EXCEPTION 'no such table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('CLUSTER %I USING %I', t, t || '_pkey');
END $$;
-- +goose StatementEnd
