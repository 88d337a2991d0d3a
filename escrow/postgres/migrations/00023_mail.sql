-- +goose Up

-- Where people want to be written to, of those who gave an address: a row each, of one
-- length for all. The place is keyed (RowKey) over the label of the record; what is sealed
-- opens under the same key, so the operator can read it, and a copy of the database cannot.
CREATE TABLE addresses (
  place  bytea PRIMARY KEY CHECK (octet_length(place) = 16),
  hidden bytea NOT NULL CHECK (octet_length(hidden) = 1052),
  day    date  NOT NULL CHECK (isfinite(day))
);
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON addresses EXECUTE FUNCTION never();

-- The outbox: a row for each duty to write to somebody, from the transaction on that causes
-- it. A duty to a person hides whose it is, how often and when it is tried, and what came of
-- it, in one length: whoever was told of by a court has the same row with an address and
-- without, whatever a mail server does. A mail says nothing but that something waits.
CREATE TABLE mails (
  id      bytea PRIMARY KEY CHECK (octet_length(id) = 16), -- keyed over what it is about: one duty is one row
  kind    text  COLLATE "C" NOT NULL CHECK (kind IN ('notice', 'notice_first', 'confirm', 'changed', 'reminder')),
  case_id text  COLLATE "C" REFERENCES cases, -- of a notice
  target  int   CHECK (target >= 0),          -- its place in the warrant
  party   text  COLLATE "C" CHECK (octet_length(party) BETWEEN 1 AND 300), -- of a reminder: whom of the bundle
  leaf    bigint,                             -- up to which they are reminded
  hidden  bytea NOT NULL CHECK (octet_length(hidden) = 412),
  day     date  NOT NULL CHECK (isfinite(day)),
  since   timestamptz CHECK (isfinite(since)), -- to the hour: what waits
  due     timestamptz CHECK (isfinite(due)),   -- when it is tried next
  tries   int   NOT NULL DEFAULT 0 CHECK (tries >= 0),
  done    timestamptz CHECK (isfinite(done)),  -- to the minute
  refused boolean NOT NULL DEFAULT false,      -- a reminder, by the mail server: for good
  CONSTRAINT mails_about CHECK ((kind IN ('notice', 'notice_first')) = (num_nonnulls(case_id, target) = 2) AND (kind = 'reminder') = (num_nonnulls(party, leaf) = 2)
    AND num_nonnulls(case_id, target, party, leaf) IN (0, 2)),
  CONSTRAINT mails_waits CHECK (num_nonnulls(since, due) = CASE WHEN done IS NULL THEN 2 ELSE 0 END),
  CONSTRAINT mails_hide CHECK (case_id IS NULL OR done IS NULL AND tries = 0), -- of people, for ever: it is hidden
  CONSTRAINT mails_refused CHECK (NOT refused OR kind = 'reminder' AND done IS NOT NULL)
);
CREATE INDEX mails_due ON mails (due) WHERE done IS NULL AND kind <> 'notice' AND kind <> 'notice_first';
CREATE INDEX mails_of_cases ON mails (since) WHERE kind IN ('notice', 'notice_first');
CREATE INDEX mails_by_turn ON mails ((get_byte(id, 0) % 24)) WHERE kind IN ('notice', 'notice_first');
CREATE INDEX mails_by_case ON mails (case_id) WHERE case_id IS NOT NULL;
CREATE INDEX mails_by_party ON mails (party, day) WHERE party IS NOT NULL;
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON mails EXECUTE FUNCTION never();
-- A duty stays until it is carried out, and what came of it stays as it was. What a person
-- does about their address leaves no row.
CREATE TRIGGER no_delete BEFORE DELETE ON mails FOR EACH ROW WHEN (OLD.case_id IS NOT NULL OR OLD.party IS NOT NULL AND OLD.done IS NULL) EXECUTE FUNCTION never();
CREATE TRIGGER no_change BEFORE UPDATE ON mails FOR EACH ROW WHEN (OLD.done IS NOT NULL AND OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION never();

-- Until when custodians have to answer: they are reminded before. NULL: of cases of before,
-- and where no answer is waited for.
ALTER TABLE cases ADD COLUMN answer_by timestamptz CHECK (isfinite(answer_by));

-- They are put into order like the rest (see 00001).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION mix() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE t text; c text;
BEGIN
  FOR t, c IN VALUES ('records', 'day'), ('persons', 'day'), ('pseudonyms', 'day'), ('handles', 'day'), ('notes', 'day'), ('erasures', 'day'), ('reviews', 'day'), ('sessions', 'expires'),
                     ('claims', 'expires'), ('claim_counts', 'expires'), ('claims_told', 'day'), ('addresses', 'day'), ('mails', 'day'),
                     ('openid_rows', 'expires'), ('openid_used', 'expires'), ('openid_entries', 'expires') LOOP
    EXECUTE format('UPDATE %1$I SET %2$I = %2$I WHERE %2$I IN
      (SELECT %2$I FROM %1$I GROUP BY 1 HAVING count(DISTINCT xmin::text) > 1)', t, c);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION sort(t text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF t NOT IN ('records', 'persons', 'pseudonyms', 'handles', 'notes', 'erasures', 'reviews', 'sessions', 'claims', 'claim_counts', 'claims_told', 'addresses', 'mails', 'openid_rows', 'openid_used', 'openid_entries') THEN
    RAISE EXCEPTION 'no such table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('CLUSTER %I USING %I', t, t || '_pkey');
END $$;
-- +goose StatementEnd
