-- +goose Up

-- That two people look alike is never the last word: an enrolment that looks like
-- somebody else's is held until two people have decided.

-- marks are MACs by which it is told what agrees: of the name, of the year of birth,
-- both keyed with the account, and of the provider, keyed with name and birth date.
-- So no two persons have an equal one, and a copy shows no group of people. Of those
-- who enrolled before there is none.
-- Of the persons with one likeness, all but the first came through a review; NULL: the first.
ALTER TABLE persons
  ADD COLUMN marks    bytea CHECK (octet_length(marks) = 96),
  ADD COLUMN reviewed boolean CHECK (reviewed),
  DROP CONSTRAINT persons_likeness_key;
CREATE UNIQUE INDEX persons_likeness ON persons (likeness) WHERE reviewed IS NULL;
CREATE INDEX persons_likeness_reviewed ON persons (likeness) WHERE reviewed;

-- Nothing of an identity, and no id of a person: mark and whose are MACs over them,
-- and go when the review is over.
CREATE TABLE reviews (
  id        text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z2-7]{12}$'), -- the reference that the person was shown
  mark      bytea UNIQUE CHECK (octet_length(mark) = 32), -- who is held
  whose     bytea CHECK (octet_length(whose) = 32),       -- who is enrolled already
  account   boolean NOT NULL, -- the account is known, under another birth date
  several   boolean NOT NULL, -- more than one person is like it
  name      boolean, year boolean, birthdate boolean, provider boolean, -- which marks agree; NULL: not known
  state     text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'waiting', 'accepted', 'objected', 'separated', 'done')),
  due       date CHECK (isfinite(due)), -- an acceptance takes effect
  objected  boolean NOT NULL DEFAULT false,
  day       date NOT NULL CHECK (isfinite(day)),
  CONSTRAINT reviews_over CHECK ((state = 'done') = (mark IS NULL) AND (state = 'done') = (whose IS NULL)),
  CONSTRAINT reviews_due CHECK (state NOT IN ('waiting', 'accepted', 'objected') OR due IS NOT NULL)
);
CREATE INDEX reviews_waiting ON reviews (whose) WHERE state = 'waiting';

-- The last word of each reviewer.
CREATE TABLE review_entries (
  review   text COLLATE "C" NOT NULL REFERENCES reviews,
  reviewer text NOT NULL CHECK (octet_length(reviewer) BETWEEN 1 AND 128),
  outcome  text NOT NULL CHECK (outcome IN ('accept', 'separate')),
  signed   text NOT NULL CHECK (octet_length(signed) BETWEEN 1 AND 4096),
  PRIMARY KEY (review, reviewer) -- two are two people
);

-- What was decided, each with its leaf.
CREATE TABLE review_outcomes (
  review  text COLLATE "C" NOT NULL REFERENCES reviews,
  outcome text   NOT NULL CHECK (outcome IN ('accept', 'separate', 'object')),
  salt    bytea  NOT NULL CHECK (octet_length(salt) = 32),
  signed  text[] NOT NULL CHECK (cardinality(signed) = 2),
  leaf    bigint NOT NULL UNIQUE REFERENCES log_leaves,
  PRIMARY KEY (review, outcome)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON review_outcomes FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_delete BEFORE DELETE ON reviews FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER no_delete BEFORE DELETE ON review_entries FOR EACH ROW EXECUTE FUNCTION never();
-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['reviews', 'review_entries', 'review_outcomes'] LOOP
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION never()', t);
  END LOOP;
END $$;
-- +goose StatementEnd

-- The arrows are those of disclose.ReviewLife, to which a test holds them. What
-- needs two people has its leaf, and what was objected to takes no effect.
-- +goose StatementBegin
CREATE FUNCTION review_moves() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'held' OR NEW.objected OR NEW.due IS NOT NULL THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'reviews_transition';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.account, NEW.several, NEW.name, NEW.year, NEW.birthdate, NEW.provider, NEW.day)
     IS DISTINCT FROM (OLD.id, OLD.account, OLD.several, OLD.name, OLD.year, OLD.birthdate, OLD.provider, OLD.day)
     OR NEW.state <> 'done' AND (NEW.mark, NEW.whose) IS DISTINCT FROM (OLD.mark, OLD.whose)
     OR NEW.state = OLD.state AND NEW.due IS DISTINCT FROM OLD.due
     OR NEW.objected <> OLD.objected AND (OLD.objected OR OLD.state <> 'waiting') THEN
    RAISE EXCEPTION 'fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'reviews_fixed';
  END IF;
  IF NEW.state <> OLD.state THEN
    IF (OLD.state, NEW.state) NOT IN (('held', 'waiting'), ('held', 'separated'), ('waiting', 'accepted'), ('waiting', 'objected'),
       ('objected', 'separated'), ('accepted', 'done'), ('separated', 'done')) OR NEW.state = 'accepted' AND NEW.objected THEN
      RAISE EXCEPTION 'transition' USING ERRCODE = 'check_violation', CONSTRAINT = 'reviews_transition';
    END IF;
    IF NEW.state IN ('waiting', 'objected', 'separated') AND NOT EXISTS (SELECT FROM review_outcomes o WHERE o.review = NEW.id
       AND o.outcome = CASE NEW.state WHEN 'waiting' THEN 'accept' WHEN 'objected' THEN 'object' ELSE 'separate' END) THEN
      RAISE EXCEPTION 'outcome' USING ERRCODE = 'check_violation', CONSTRAINT = 'reviews_outcome';
    END IF;
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER moves BEFORE INSERT ON reviews FOR EACH ROW EXECUTE FUNCTION review_moves();
CREATE TRIGGER moves_on BEFORE UPDATE ON reviews FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION review_moves();

-- A person's accounts change in the transaction that ends a review: by admit() alone,
-- since nobody has the right to write these columns.
-- +goose StatementBegin
CREATE FUNCTION admitting() RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = penname, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM reviews WHERE state = 'done' AND xmin = pg_current_xact_id()::xid);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION person_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF (NEW.id, NEW.day) IS DISTINCT FROM (OLD.id, OLD.day)
     OR (NEW.fingerprint, NEW.likeness, NEW.birth, NEW.marks, NEW.reviewed) IS DISTINCT FROM (OLD.fingerprint, OLD.likeness, OLD.birth, OLD.marks, OLD.reviewed) AND NOT admitting()
     OR (NEW.label, NEW.digest) IS DISTINCT FROM (OLD.label, OLD.digest)
        AND (NOT EXISTS (SELECT FROM erasures WHERE label = OLD.label) OR EXISTS (SELECT FROM records WHERE label = NEW.label)) THEN
    RAISE EXCEPTION 'append-only' USING ERRCODE = 'check_violation', CONSTRAINT = 'append_only';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd

-- alike returns who is enrolled with that account, else with that likeness: a question
-- that takes a MAC, so that nobody browses.
-- +goose StatementBegin
CREATE FUNCTION alike(f bytea, l bytea) RETURNS TABLE (id bytea, account boolean, marks bytea) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = penname, pg_temp
BEGIN ATOMIC
  SELECT p.id, true, p.marks FROM persons p WHERE p.fingerprint = f
  UNION ALL
  SELECT * FROM (SELECT DISTINCT ON (q.id) q.id, false, q.marks FROM (
    SELECT a.id, a.marks FROM persons a WHERE a.likeness = l AND a.reviewed IS NULL
    UNION ALL
    SELECT b.id, b.marks FROM persons b WHERE b.likeness = l AND b.reviewed) q
    WHERE NOT EXISTS (SELECT FROM persons c WHERE c.fingerprint = f)) alike;
END;
-- +goose StatementEnd

-- admit carries a decision out when whom it concerns came again, once. Accepted: the
-- account becomes one of the person with the id known, or, if it is theirs already,
-- gets its new birth date. Separated: the account becomes that of the new person, whose
-- record the caller stores; if it was somebody's, whose account the provider gave away,
-- it is that no longer. It returns what was decided, NULL if nothing was.
-- +goose StatementBegin
CREATE FUNCTION admit(m bytea, f bytea, l bytea, b bytea, k bytea, known bytea, nobody bytea, new_id bytea, new_label text, new_digest bytea, d date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE was text; before bytea; taken boolean;
BEGIN
  SELECT state INTO was FROM reviews WHERE mark = m AND state IN ('accepted', 'separated') FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  UPDATE reviews SET state = 'done', mark = NULL, whose = NULL WHERE mark = m;
  SELECT likeness INTO before FROM persons WHERE fingerprint = f;
  IF was = 'separated' THEN
    UPDATE persons SET fingerprint = nobody, birth = nobody WHERE fingerprint = f;
  END IF;
  SELECT EXISTS (SELECT FROM persons WHERE likeness = l AND reviewed IS NULL AND fingerprint <> f) OR NULL INTO taken;
  IF was = 'separated' THEN
    INSERT INTO persons (id, label, fingerprint, likeness, birth, marks, day, digest, reviewed) VALUES (new_id, new_label, f, l, b, k, d, new_digest, taken);
  ELSIF before IS NULL THEN
    INSERT INTO persons (id, label, fingerprint, likeness, birth, marks, day, digest, reviewed)
      SELECT p.id, p.label, f, l, b, k, d, p.digest, taken FROM persons p WHERE p.id = known AND p.likeness = l LIMIT 1;
  ELSE
    UPDATE persons SET likeness = l, birth = b, marks = k, reviewed = taken WHERE fingerprint = f AND id = known;
  END IF;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'known' USING ERRCODE = 'check_violation', CONSTRAINT = 'reviews_known';
  END IF;
  -- Whoever is left with the likeness of before: one of them is the first now.
  UPDATE persons SET reviewed = NULL WHERE fingerprint = (SELECT fingerprint FROM persons WHERE likeness = before AND reviewed ORDER BY fingerprint LIMIT 1)
    AND NOT EXISTS (SELECT FROM persons WHERE likeness = before AND reviewed IS NULL);
  RETURN was;
END $$;
-- +goose StatementEnd

-- The tables of 00009 and 00010 are put into order as well (see 00001).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION mix() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
DECLARE t text; c text;
BEGIN
  FOR t, c IN VALUES ('records', 'day'), ('persons', 'day'), ('pseudonyms', 'day'), ('erasures', 'day'), ('reviews', 'day'), ('sessions', 'expires'),
                     ('openid_rows', 'expires'), ('openid_used', 'expires'), ('openid_entries', 'expires') LOOP
    EXECUTE format('UPDATE %1$I SET %2$I = %2$I WHERE %2$I IN
      (SELECT %2$I FROM %1$I GROUP BY 1 HAVING count(DISTINCT xmin::text) > 1)', t, c);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION sort(t text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname, pg_temp AS $$
BEGIN
  IF t NOT IN ('records', 'persons', 'pseudonyms', 'erasures', 'reviews', 'sessions', 'openid_rows', 'openid_used', 'openid_entries') THEN
    RAISE EXCEPTION 'no such table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('CLUSTER %I USING %I', t, t || '_pkey');
END $$;
-- +goose StatementEnd
