-- +goose Up

-- The registry of platforms: every version of the record of each, as it was signed,
-- with its leaf. client is the settings of its OpenID client (redirect addresses, hashes
-- of secrets), of which the record has the hash.
CREATE TABLE platform_records (
  id            text COLLATE "C" NOT NULL CHECK (octet_length(id) BETWEEN 1 AND 64),
  number        int    NOT NULL CHECK (number >= 1),
  signed        text   NOT NULL CHECK (octet_length(signed) BETWEEN 1 AND 262144),
  countersigned text[] NOT NULL CHECK (cardinality(countersigned) <= 16),
  client        bytea  NOT NULL CHECK (octet_length(client) <= 262144),
  leaf          bigint NOT NULL UNIQUE REFERENCES log_leaves,
  day           date   NOT NULL CHECK (isfinite(day)), -- of the leaf
  PRIMARY KEY (id, number)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON platform_records FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON platform_records EXECUTE FUNCTION never();

-- The payload of a compact JWS: base64url without padding (RFC 7515, 2).
-- +goose StatementBegin
CREATE FUNCTION payload(jws text) RETURNS json LANGUAGE sql IMMUTABLE STRICT SET search_path = penname, pg_temp
RETURN convert_from(decode(rpad(translate(split_part(jws, '.', 2), '-_', '+/'), (length(split_part(jws, '.', 2)) + 3) / 4 * 4, '='), 'base64'), 'UTF8')::json;
-- +goose StatementEnd

-- A row is what its record says, comes after the record that it names, and its leaf is
-- of this very record with these countersignatures. Who signed it is for whoever reads it.
-- +goose StatementBegin
CREATE FUNCTION platform_follows() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE said json; before record; logged json; digest text;
BEGIN
  BEGIN
    said := payload(NEW.signed);
  EXCEPTION WHEN OTHERS THEN
    RAISE EXCEPTION 'record' USING ERRCODE = 'check_violation', CONSTRAINT = 'platform_records_signed';
  END;
  IF (said ->> 'id', said ->> 'number', said ->> 'client') IS DISTINCT FROM (NEW.id, NEW.number::text, encode(sha256(NEW.client), 'hex')) THEN
    RAISE EXCEPTION 'record' USING ERRCODE = 'check_violation', CONSTRAINT = 'platform_records_signed';
  END IF;
  SELECT number, leaf, encode(sha256(convert_to(signed, 'UTF8')), 'hex') AS digest, payload(signed) ->> 'sector' AS sector
    INTO before FROM platform_records WHERE id = NEW.id ORDER BY number DESC LIMIT 1;
  IF NEW.number <> coalesce(before.number, 0) + 1 OR said ->> 'previous' IS DISTINCT FROM coalesce(before.digest, '')
     OR before.leaf >= NEW.leaf OR said ->> 'sector' IS DISTINCT FROM coalesce(before.sector, said ->> 'sector') THEN
    RAISE EXCEPTION 'order' USING ERRCODE = 'check_violation', CONSTRAINT = 'platform_records_order';
  END IF;
  SELECT convert_from(leaf, 'UTF8')::json INTO logged FROM log_leaves WHERE index = NEW.leaf;
  SELECT encode(sha256('penname/platform/v1'::bytea || string_agg(int8send(octet_length(part)) || convert_to(part, 'UTF8'), ''::bytea ORDER BY place)), 'hex')
    INTO digest FROM unnest(array_prepend(NEW.signed, NEW.countersigned)) WITH ORDINALITY AS parts (part, place);
  IF (logged ->> 'kind', logged ->> 'package', logged ->> 'day') IS DISTINCT FROM ('platform', digest, NEW.day::text) THEN
    RAISE EXCEPTION 'leaf' USING ERRCODE = 'check_violation', CONSTRAINT = 'platform_records_logged';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER follows BEFORE INSERT ON platform_records FOR EACH ROW EXECUTE FUNCTION platform_follows();
