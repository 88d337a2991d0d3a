-- +goose Up

-- The exhibits of a case: what posts showed, encrypted by the filer to the custodians and
-- the requester. A row comes with the case for each that its evidence declares, is filled
-- once, and goes when the time to appeal is over.
CREATE TABLE exhibits (
  case_id   text  NOT NULL REFERENCES cases,
  digest    bytea NOT NULL CHECK (octet_length(digest) = 32),          -- SHA-256 of what was published
  length    int   NOT NULL CHECK (length BETWEEN 1 AND 22020096),      -- of what is encrypted, bytes
  keep_days int   NOT NULL CHECK (keep_days BETWEEN 1 AND 1096),       -- behind the end of the case
  sealed    bytea CHECK (octet_length(sealed) = length),
  PRIMARY KEY (case_id, digest)
);
ALTER TABLE exhibits ALTER sealed SET STORAGE EXTERNAL; -- ciphertext does not compress

-- The day from which the exhibits of a case may go.
-- +goose StatementBegin
CREATE FUNCTION kept_until(id text, days int) RETURNS date LANGUAGE sql STABLE STRICT SET search_path = penname, pg_temp AS $$
  SELECT greatest((c.expires AT TIME ZONE 'UTC')::date, (c.secrecy_ends AT TIME ZONE 'UTC')::date, (SELECT max(n.day) FROM notices n WHERE n.case_id = c.id)) + days
  FROM cases c WHERE c.id = kept_until.id
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION exhibit_moves() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF EXISTS (SELECT FROM cases c WHERE c.id = OLD.case_id AND c.state IN ('recorded', 'authorised', 'released')) THEN
      RAISE EXCEPTION 'open' USING ERRCODE = 'check_violation', CONSTRAINT = 'exhibits_kept';
    END IF;
    RETURN OLD;
  END IF;
  IF OLD.sealed IS NOT NULL OR NEW.sealed IS NULL
     OR (OLD.case_id, OLD.digest, OLD.length, OLD.keep_days) IS DISTINCT FROM (NEW.case_id, NEW.digest, NEW.length, NEW.keep_days) THEN
    RAISE EXCEPTION 'filled' USING ERRCODE = 'check_violation', CONSTRAINT = 'exhibits_filled_once';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE UPDATE OR DELETE ON exhibits FOR EACH ROW EXECUTE FUNCTION exhibit_moves();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON exhibits EXECUTE FUNCTION never();

-- What a custodian encrypted again to one who became a custodian since, with their
-- signature. It goes with the exhibit, and never changes.
CREATE TABLE copies (
  case_id   text  NOT NULL,
  digest    bytea NOT NULL,
  recipient bytea NOT NULL CHECK (octet_length(recipient) = 32),              -- SHA-256 of it
  copied    bytea NOT NULL CHECK (octet_length(copied) BETWEEN 1 AND 22028288), -- exhibit.Reseal
  PRIMARY KEY (case_id, digest, recipient),
  FOREIGN KEY (case_id, digest) REFERENCES exhibits ON DELETE CASCADE
);
ALTER TABLE copies ALTER copied SET STORAGE EXTERNAL;

-- +goose StatementBegin
CREATE FUNCTION copy_goes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM exhibits e WHERE (e.case_id, e.digest) = (OLD.case_id, OLD.digest)) THEN
    RAISE EXCEPTION 'kept' USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only';
  END IF;
  RETURN OLD;
END $$;
-- +goose StatementEnd
CREATE TRIGGER goes BEFORE DELETE ON copies FOR EACH ROW EXECUTE FUNCTION copy_goes();
CREATE TRIGGER append_only BEFORE UPDATE ON copies FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON copies EXECUTE FUNCTION never();
