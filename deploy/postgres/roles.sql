-- The roles of Penname, the schema and who may connect. Apply it to Penname's
-- database as a superuser, or let `escrowd migrate` apply it: repeating it
-- changes nothing. What each role may do with which column is in
-- escrow/postgres/grants.sql, which `escrowd migrate` applies.
--
-- No login role has a password here: give each one with \password, or a
-- client certificate in pg_hba.conf.

-- Owns every table and function; nobody logs in as it.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'penname_owner') THEN
    CREATE ROLE penname_owner NOLOGIN;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; -- made by somebody else just now
END $$;

-- The issuing side: enrols and derives; reads no sealed field and no link.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'penname_issuing') THEN
    CREATE ROLE penname_issuing LOGIN NOINHERIT;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

-- The disclosing side: cases and the log; reads nothing of a person.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'penname_disclosing') THEN
    CREATE ROLE penname_disclosing LOGIN NOINHERIT;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

-- The keeping side: moves first halves to a new key and erases; opens nothing.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'penname_keeping') THEN
    CREATE ROLE penname_keeping LOGIN NOINHERIT;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

-- An administrator who is not a superuser needs the membership to migrate.
DO $$ BEGIN
  IF NOT pg_has_role(current_user, 'penname_owner', 'MEMBER') THEN
    EXECUTE format('GRANT penname_owner TO %I', current_user);
  END IF;
END $$;

-- The server's own log must not become a second, timed register of pseudonyms:
-- no statement parameters, and no DETAIL lines, which quote the row. Only a
-- superuser may set these; the services refuse to start without them.
DO $$
DECLARE login text;
BEGIN
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    RETURN;
  END IF;
  FOREACH login IN ARRAY ARRAY['penname_issuing', 'penname_disclosing', 'penname_keeping'] LOOP
    IF NOT EXISTS (
      SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
      WHERE r.rolname = login AND s.setdatabase = 0
        AND s.setconfig @> ARRAY['log_parameter_max_length=0', 'log_parameter_max_length_on_error=0', 'log_error_verbosity=terse']
    ) THEN
      EXECUTE format('ALTER ROLE %I SET log_parameter_max_length = 0', login);
      EXECUTE format('ALTER ROLE %I SET log_parameter_max_length_on_error = 0', login);
      EXECUTE format('ALTER ROLE %I SET log_error_verbosity = terse', login);
    END IF;
  END LOOP;
EXCEPTION WHEN unique_violation OR internal_error THEN NULL; -- set by somebody else just now
END $$;

-- The schema, and who may connect. Whatever a backup was restored by, with or without
-- its owners, belongs to penname_owner again: a function that runs as its owner must
-- not run as a superuser. A new database is open to everybody.
DO $$
DECLARE name text;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'penname') THEN
    CREATE SCHEMA penname AUTHORIZATION penname_owner;
  ELSIF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'penname' AND nspowner <> 'penname_owner'::regrole) THEN
    ALTER SCHEMA penname OWNER TO penname_owner;
  END IF;
  FOR name IN SELECT c.oid::regclass FROM pg_class c
    WHERE relnamespace = 'penname'::regnamespace AND relowner <> 'penname_owner'::regrole AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i')) -- a sequence goes with its table
  LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO penname_owner', name);
  END LOOP;
  FOR name IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'penname'::regnamespace AND proowner <> 'penname_owner'::regrole LOOP
    EXECUTE format('ALTER ROUTINE %s OWNER TO penname_owner', name);
  END LOOP;
  IF EXISTS (SELECT FROM unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) p WHERE has_database_privilege('public', current_database(), p)) THEN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  END IF;
  IF EXISTS (SELECT FROM unnest(ARRAY['penname_issuing', 'penname_disclosing', 'penname_keeping']) r WHERE NOT has_database_privilege(r, current_database(), 'CONNECT')) THEN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO penname_issuing, penname_disclosing, penname_keeping', current_database());
  END IF;
END $$;
