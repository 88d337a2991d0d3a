-- +goose Up

-- A ruling by which an objection is upheld marks targets in its leaf, and does to them what an
-- annulment does.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION newest_leaf_is(of_kind text, about bigint) RETURNS boolean LANGUAGE sql STABLE SET search_path = penname, pg_temp AS $$
  SELECT EXISTS (SELECT FROM log_leaves g, LATERAL (SELECT convert_from(g.leaf, 'UTF8')::json) j (leaf)
    WHERE g.index = (SELECT max(index) FROM log_leaves) AND j.leaf ->> 'case' = about::text
      AND CASE WHEN j.leaf ->> 'warrant_kind' = 'ruling' AND j.leaf ->> 'which' <> '' THEN 'annulment'
               ELSE coalesce(j.leaf ->> 'warrant_kind', j.leaf ->> 'kind') END = of_kind)
$$;
-- +goose StatementEnd

-- What custodians say beside their decisions: questions to the court of a case, reasons in
-- words, recusals; and when they are away. Only the court and custodians are shown it. What is
-- said in a case goes when the time to appeal is over.
CREATE TABLE statements (
  digest    bytea PRIMARY KEY CHECK (octet_length(digest) = 32),               -- SHA-256 of signed
  n         bigint GENERATED ALWAYS AS IDENTITY,
  kind      text COLLATE "C" NOT NULL CHECK (kind IN ('question', 'reasons', 'recusal', 'absence')),
  custodian text COLLATE "C" NOT NULL CHECK (octet_length(custodian) <= 128),
  case_id   text COLLATE "C" REFERENCES cases,
  signed    text   NOT NULL CHECK (octet_length(signed) BETWEEN 1 AND 16384),
  keep_days int    CHECK (keep_days BETWEEN 1 AND 1096),                       -- behind the end of the case
  starts    timestamptz CHECK (isfinite(starts)),
  ends      timestamptz CHECK (isfinite(ends)),
  answer    bigint UNIQUE REFERENCES log_leaves,                               -- recorded leaf of the ruling that answers a question
  CONSTRAINT statements_shape CHECK (
    (kind = 'absence') = (case_id IS NULL) AND (kind = 'absence') = (keep_days IS NULL) AND
    (kind = 'absence') = (starts IS NOT NULL) AND (kind = 'absence') = (ends IS NOT NULL) AND
    (ends IS NULL OR starts < ends) AND (answer IS NULL OR kind = 'question'))
);
CREATE INDEX statements_of_case ON statements (case_id, n) WHERE case_id IS NOT NULL;
CREATE INDEX statements_absences ON statements (ends) WHERE kind = 'absence';
-- One recusal, and one statement of reasons, of a custodian in a case.
CREATE UNIQUE INDEX statements_once ON statements (case_id, custodian, kind) WHERE kind IN ('recusal', 'reasons');

-- +goose StatementBegin
CREATE FUNCTION statement_moves() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF EXISTS (SELECT FROM cases c WHERE c.id = OLD.case_id AND c.state IN ('recorded', 'authorised', 'released')) THEN
      RAISE EXCEPTION 'open' USING ERRCODE = 'check_violation', CONSTRAINT = 'statements_kept';
    END IF;
    RETURN OLD;
  END IF;
  IF OLD.answer IS NOT NULL OR NEW.answer IS NULL
     OR (OLD.digest, OLD.n, OLD.kind, OLD.custodian, OLD.case_id, OLD.signed, OLD.keep_days, OLD.starts, OLD.ends)
        IS DISTINCT FROM (NEW.digest, NEW.n, NEW.kind, NEW.custodian, NEW.case_id, NEW.signed, NEW.keep_days, NEW.starts, NEW.ends)
     OR NOT EXISTS (SELECT FROM cases c WHERE c.id = NEW.case_id AND newest_leaf_is('ruling', c.recorded_leaf))
     OR NEW.answer <> (SELECT max(index) FROM log_leaves) THEN
    RAISE EXCEPTION 'answered' USING ERRCODE = 'check_violation', CONSTRAINT = 'statements_answered_once';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE UPDATE OR DELETE ON statements FOR EACH ROW EXECUTE FUNCTION statement_moves();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON statements EXECUTE FUNCTION never();
