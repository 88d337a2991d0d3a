-- +goose Up

-- The custodians' message board: what participants of a key ceremony have
-- signed, once for each round. Nothing in it is secret.

CREATE TABLE ceremonies (
  plan_hash bytea PRIMARY KEY CHECK (plan_hash = sha256(plan)),
  plan      bytea NOT NULL CHECK (octet_length(plan) BETWEEN 1 AND 262144)
);

CREATE TABLE ceremony_messages (
  plan_hash bytea NOT NULL REFERENCES ceremonies,
  n         int   NOT NULL CHECK (n BETWEEN 1 AND 512), -- 4 rounds, at most 128 participants
  round     text  NOT NULL CHECK (round IN ('agree', 'commit', 'deal', 'answer')),
  sender    text  NOT NULL CHECK (octet_length(sender) BETWEEN 1 AND 128),
  signed    text  NOT NULL CHECK (octet_length(signed) BETWEEN 1 AND 16384),
  PRIMARY KEY (plan_hash, n),
  UNIQUE (plan_hash, round, sender) -- nobody says two things
);

CREATE TABLE ceremony_transcripts (
  plan_hash  bytea  PRIMARY KEY REFERENCES ceremonies,
  transcript bytea  NOT NULL CHECK (octet_length(transcript) BETWEEN 1 AND 8388608),
  leaf       bigint NOT NULL UNIQUE REFERENCES log_leaves
);
CREATE INDEX ceremony_transcripts_by_hash ON ceremony_transcripts (sha256(transcript));

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['ceremonies', 'ceremony_messages', 'ceremony_transcripts'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION never()', t);
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION never()', t);
  END LOOP;
END $$;
-- +goose StatementEnd

-- A transcript is the end: nothing is said after it.
-- +goose StatementBegin
CREATE FUNCTION ceremony_is_open() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM ceremony_transcripts WHERE plan_hash = NEW.plan_hash) THEN
    RAISE EXCEPTION 'closed' USING ERRCODE = 'check_violation', CONSTRAINT = 'ceremony_messages_closed';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER is_open BEFORE INSERT ON ceremony_messages FOR EACH ROW EXECUTE FUNCTION ceremony_is_open();
