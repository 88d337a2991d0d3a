-- +goose Up

-- A case lives under the bundle of its day; who decides is a custodian of the
-- bundle that is in force then. A resharing moves the key, and makes shares of
-- before useless: so a custodian may decide again once another bundle is in force,
-- and counts once all the same.
-- The bundle in force when it was decided; NULL in rows of before: that of the case.
ALTER TABLE approvals ADD COLUMN bundle text COLLATE "C" CHECK (bundle ~ '^[0-9a-f]{64}$');
ALTER TABLE approvals DROP CONSTRAINT approvals_pkey, ADD PRIMARY KEY (case_id, custodian, leaf);

-- +goose StatementBegin
CREATE FUNCTION decided_once() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM approvals a WHERE a.case_id = NEW.case_id AND a.custodian = NEW.custodian
     AND NOT EXISTS (SELECT FROM bundles b WHERE b.leaf > a.leaf AND b.leaf < NEW.leaf)) THEN
    RAISE EXCEPTION 'decided' USING ERRCODE = 'unique_violation', CONSTRAINT = 'approvals_once';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER decided_once BEFORE INSERT ON approvals FOR EACH ROW EXECUTE FUNCTION decided_once();

-- Threshold = distinct authorities (ATTACKS, lesson 5). Triggers run in the order of
-- their names: this one after moves.
-- +goose StatementBegin
CREATE FUNCTION distinct_quorum() RETURNS trigger LANGUAGE plpgsql SET search_path = penname, pg_temp AS $$
BEGIN
  IF NEW.quorum > (SELECT count(DISTINCT custodian) FROM approvals WHERE case_id = NEW.id AND approved) THEN
    RAISE EXCEPTION 'quorum' USING ERRCODE = 'check_violation', CONSTRAINT = 'cases_quorum';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER quorum_is_distinct BEFORE UPDATE ON cases FOR EACH ROW WHEN (NEW.state = 'authorised') EXECUTE FUNCTION distinct_quorum();
