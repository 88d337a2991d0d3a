-- What each service may do, column by column; Migrate applies it, and the
-- services refuse to start with less or with more. One statement a line.

-- All: the version of the schema, and which programs may run on it.
GRANT SELECT (version_id, is_applied) ON goose_db_version TO penname_issuing, penname_disclosing, penname_keeping;
GRANT SELECT (version, since, changes) ON side_by_side TO penname_issuing, penname_disclosing, penname_keeping;

-- Those who use the record keys: which versions of them were in use, and which no longer exist.
GRANT SELECT (key_group, version, state, records, step) ON rotations TO penname_issuing, penname_disclosing;
GRANT SELECT (number, opened, closed) ON key_groups TO penname_issuing;
GRANT SELECT (number) ON key_groups TO penname_disclosing;

-- The issuing side writes sealed fields and links, and never reads them.
GRANT INSERT (label, first_half, second_half, sealed, day) ON records TO penname_issuing;
GRANT INSERT (id, label, digest, fingerprint, likeness, birth, marks, day) ON persons TO penname_issuing;
GRANT SELECT (id, label, digest, fingerprint, birth) ON persons TO penname_issuing;
GRANT INSERT (handle, link, hidden, day) ON pseudonyms TO penname_issuing;
GRANT SELECT (handle, hidden, day) ON pseudonyms TO penname_issuing;
GRANT INSERT (place, owner, day), SELECT (place, owner) ON handles TO penname_issuing;
GRANT INSERT (place, hidden, day), SELECT (place, hidden, day), UPDATE (hidden, day) ON notes TO penname_issuing;
GRANT SELECT (pseudonym, platform, commitment) ON pseudonyms_named TO penname_issuing;
GRANT EXECUTE ON FUNCTION hide(text[], bytea[], bytea[], bytea[]) TO penname_issuing;
GRANT SELECT (wrapped), INSERT (wrapped) ON row_key TO penname_issuing;
GRANT SELECT (pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, until, about, state, code, deleted) ON notices_now TO penname_issuing;
GRANT SELECT (pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, until, about, state, code, days, approve_from, expires) ON first_notices_now TO penname_issuing;
GRANT SELECT (pseudonym, platform, leaf, n, lawyer, day, suspends, outcome, ruling, said) ON objections_now TO penname_issuing;
GRANT EXECUTE ON FUNCTION object_to(text, text, bigint, bytea, timestamptz) TO penname_issuing;
GRANT EXECUTE ON FUNCTION make_code(text, text, bigint, bytea, timestamptz) TO penname_issuing;
GRANT SELECT (leaf, place, hidden, expires) ON suspensions_in_force TO penname_issuing;
GRANT SELECT (case_id, ask), UPDATE (ask, answer, refused) ON link_orders TO penname_issuing;
GRANT INSERT (label, salt, day), SELECT (label, salt, day) ON erasures TO penname_issuing;
GRANT UPDATE (label, digest) ON persons TO penname_issuing;
GRANT INSERT (id, mark, whose, account, several, name, year, birthdate, provider, day), SELECT (id, mark, whose, state, due, objected), UPDATE (objected) ON reviews TO penname_issuing;
GRANT EXECUTE ON FUNCTION alike(bytea, bytea) TO penname_issuing;
GRANT EXECUTE ON FUNCTION admit(bytea, bytea, bytea, bytea, bytea, bytea, bytea, bytea, text, bytea, date) TO penname_issuing;
GRANT INSERT (place, hidden, day), SELECT (place, hidden, day), UPDATE (hidden, day), DELETE ON addresses TO penname_issuing;
GRANT INSERT (id, kind, hidden, day, since, due), SELECT (id, kind, hidden, since, due, tries, done), UPDATE (hidden, since, due, tries, done), DELETE ON mails TO penname_issuing;
GRANT EXECUTE ON FUNCTION mix_some(text, text, integer, timestamptz, integer) TO penname_issuing;
GRANT SELECT (one, began), INSERT (began), UPDATE (began) ON passes TO penname_issuing;

-- Sessions of people, and their ends.
GRANT INSERT (place, hidden), SELECT (place, hidden), UPDATE (hidden), DELETE ON passkeys TO penname_issuing;
GRANT SELECT (handle, hidden, expires), INSERT (handle, hidden, expires), DELETE ON sessions TO penname_issuing;

-- Claims of people: they are sealed, and counted by the function alone.
GRANT SELECT (place, sealed, expires), DELETE ON claims TO penname_issuing;
GRANT SELECT (id, n, expires), DELETE ON claim_counts TO penname_issuing;
GRANT EXECUTE ON FUNCTION take_claims(bytea, bytea, bytea, date, bytea[], bytea[], text) TO penname_issuing;
GRANT SELECT (place, value), INSERT (place, value, day) ON claims_told TO penname_issuing;

-- Protocol state of the OpenID provider, which is on the issuing side.
GRANT SELECT (kind, id, holder, version, body, expires, ended, writer, fresh), INSERT (kind, id, holder, version, body, expires, ended, writer), UPDATE (holder, version, body, expires, ended, writer), DELETE ON openid_rows TO penname_issuing;
GRANT SELECT (key, expires, writer), INSERT (key, expires, writer), DELETE ON openid_used TO penname_issuing;
GRANT SELECT (slot, place, grant_id, expires), INSERT (slot, place, grant_id, expires), DELETE ON openid_entries TO penname_issuing;

-- The disclosing side reads records and links, and nothing of a person.
GRANT SELECT (label, first_half, second_half, sealed, erased) ON records TO penname_disclosing;
GRANT SELECT (label, salt, cleared, leaf), UPDATE (cleared) ON erasures TO penname_disclosing;
GRANT SELECT (handle, link, hidden) ON pseudonyms TO penname_disclosing;
GRANT SELECT (wrapped) ON row_key TO penname_disclosing;

-- Of an enrolment that is held it reads which marks agree, not whose they are.
GRANT SELECT (id, account, several, name, year, birthdate, provider, state, due, objected, day), UPDATE (state, due) ON reviews TO penname_disclosing;
GRANT SELECT (review, reviewer, outcome, signed), INSERT (review, reviewer, outcome, signed), UPDATE (outcome, signed) ON review_entries TO penname_disclosing;
GRANT SELECT (review, outcome, salt, signed, leaf), INSERT (review, outcome, salt, signed, leaf) ON review_outcomes TO penname_disclosing;

GRANT SELECT (key, expires, writer), INSERT (key, expires, writer), DELETE ON requests_used TO penname_disclosing;

-- The log: appended to.
GRANT SELECT (one), UPDATE (one) ON log_lock TO penname_disclosing;
GRANT SELECT (index, leaf), INSERT (index, leaf) ON log_leaves TO penname_disclosing;
GRANT SELECT (id, hash), INSERT (id, hash) ON log_hashes TO penname_disclosing;
GRANT SELECT (n, size, root, signed), INSERT (n, size, root, signed) ON log_checkpoints TO penname_disclosing;
GRANT SELECT (leaf), INSERT (leaf) ON lost_leaves TO penname_disclosing;

-- Cases: a row moves forward, everything about it is appended.
GRANT SELECT (leaf, bundle, endorsements), INSERT (leaf, bundle, endorsements) ON bundles TO penname_disclosing;
GRANT SELECT (id, warrant_hash, authority, warrant_id, kind, submission, bundle, salt, quorum, state, secrecy_ends, expires, approve_from, recorded_leaf, authorised_leaf, released_leaf, expired_leaf, noticed_leaf, package, compartments, targets, waiting, released, day, requester, receipt, validate_by, validated_leaf, lapsed_leaf, declined_leaf, answer_by) ON cases TO penname_disclosing;
GRANT INSERT (id, warrant_hash, authority, warrant_id, kind, submission, bundle, salt, quorum, state, secrecy_ends, expires, approve_from, recorded_leaf, compartments, targets, day, requester, receipt, validate_by, answer_by) ON cases TO penname_disclosing;
GRANT UPDATE (state, authorised_leaf, released_leaf, expired_leaf, noticed_leaf, package, secrecy_ends, expires, validated_leaf, lapsed_leaf, declined_leaf) ON cases TO penname_disclosing;
GRANT SELECT (case_id, target, state, code, round), INSERT (case_id, target, state, code), UPDATE (state, code, round) ON case_targets TO penname_disclosing;
GRANT SELECT (case_id, n, authorised_leaf, released_leaf, package), INSERT (case_id, n, authorised_leaf), UPDATE (released_leaf, package) ON case_rounds TO penname_disclosing;
GRANT SELECT (case_id, leaf), INSERT (case_id, leaf) ON annulments TO penname_disclosing;
GRANT SELECT (case_id, said, mac, leaf), INSERT (case_id, said, mac, leaf) ON deletions TO penname_disclosing;
GRANT EXECUTE ON FUNCTION newest_leaf_is(text, bigint) TO penname_disclosing;
GRANT EXECUTE ON FUNCTION last_decisions(text) TO penname_disclosing;
GRANT SELECT (case_id, custodian, approved, signed, leaf, bundle, votes), INSERT (case_id, custodian, approved, signed, leaf, bundle, votes) ON approvals TO penname_disclosing;
GRANT SELECT (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, target, about), INSERT (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, until, target, about) ON notices TO penname_disclosing;
GRANT SELECT (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, kind, target, about), INSERT (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, until, target, about) ON first_notices TO penname_disclosing;
GRANT SELECT (case_id, days, tell_by, leaf, reached, approve_from), INSERT (case_id, days, tell_by), UPDATE (leaf, reached, approve_from) ON notice_first TO penname_disclosing;
GRANT SELECT (case_id, target, n, lawyer, day, suspends, digest, sealed, keep_days, leaf, outcome, ruling), UPDATE (sealed, leaf, outcome, ruling, said) ON objections TO penname_disclosing;
GRANT SELECT (hash, case_id, target, until, used) ON notice_codes TO penname_disclosing;
GRANT SELECT (case_id, target, authority, file_number, about) ON notices_of TO penname_disclosing;
GRANT EXECUTE ON FUNCTION use_code(bytea, bytea, timestamptz) TO penname_disclosing;
GRANT SELECT (leaf, target, case_id), INSERT (leaf, target, case_id, place, hidden) ON suspensions TO penname_disclosing;
GRANT SELECT (case_id, answer, refused), INSERT (case_id, ask) ON link_orders TO penname_disclosing;
GRANT SELECT (case_id, digest, length, keep_days, sealed), INSERT (case_id, digest, length, keep_days), UPDATE (sealed), DELETE ON exhibits TO penname_disclosing;
GRANT SELECT (case_id, digest, recipient, copied), INSERT (case_id, digest, recipient, copied) ON copies TO penname_disclosing;
GRANT EXECUTE ON FUNCTION kept_until(text, integer) TO penname_disclosing;
GRANT SELECT (digest, n, kind, custodian, case_id, signed, keep_days, starts, ends, answer), INSERT (digest, kind, custodian, case_id, signed, keep_days, starts, ends), UPDATE (answer), DELETE ON statements TO penname_disclosing;
GRANT SELECT (warrant, code, leaf), INSERT (warrant, code, leaf) ON refusals TO penname_disclosing;

-- The outbox: it leaves duties to write to people for the issuing side, and sends reminders itself.
GRANT INSERT (id, kind, case_id, target, party, leaf, hidden, day, since, due), SELECT (id, kind, case_id, target, party, leaf, hidden, day, since, due, tries, done, refused), UPDATE (since, due, tries, done, refused), DELETE ON mails TO penname_disclosing;

-- The keeping side moves first halves to a newer key and erases what was asked
-- to be. It reads no sealed field and no link, and appends one kind of leaf.
GRANT SELECT (key_group, label, first_half, erased), UPDATE (first_half, second_half, sealed, erased) ON records TO penname_keeping;
GRANT SELECT (key_group, version, state, position, records, day, step), INSERT (key_group, version, state, day), UPDATE (state, position, records) ON rotations TO penname_keeping;
GRANT SELECT (number, opened, closed), INSERT (number, opened), UPDATE (closed) ON key_groups TO penname_keeping;
GRANT EXECUTE ON FUNCTION close_rotation(integer, integer) TO penname_keeping;
GRANT EXECUTE ON FUNCTION key_version(text) TO penname_keeping;
GRANT EXECUTE ON FUNCTION record_place(integer, text) TO penname_issuing, penname_keeping;
GRANT SELECT (label, salt, day, cleared, leaf, version, key_group), UPDATE (leaf, version, key_group) ON erasures TO penname_keeping;
GRANT SELECT (key_group, version) ON groups_waiting TO penname_keeping;
GRANT SELECT (one), UPDATE (one) ON log_lock TO penname_keeping;
GRANT SELECT (index, leaf), INSERT (index, leaf) ON log_leaves TO penname_keeping;
GRANT SELECT (id, hash), INSERT (id, hash) ON log_hashes TO penname_keeping;
GRANT SELECT (leaf) ON lost_leaves TO penname_keeping;
GRANT SELECT (day, key_group, step), INSERT (day, key_group, step) ON snapshots TO penname_keeping;

-- The custodians' message board: appended to.
GRANT SELECT (plan_hash, plan), INSERT (plan_hash, plan) ON ceremonies TO penname_disclosing;
GRANT SELECT (plan_hash, n, round, sender, signed), INSERT (plan_hash, n, round, sender, signed) ON ceremony_messages TO penname_disclosing;
GRANT SELECT (plan_hash, transcript, leaf), INSERT (plan_hash, transcript, leaf) ON ceremony_transcripts TO penname_disclosing;

-- The registry of platforms: appended to. Whoever changes the settings of a client reads those of before.
GRANT SELECT (id, number, signed, countersigned, client, leaf, day), INSERT (id, number, signed, countersigned, client, leaf, day) ON platform_records TO penname_disclosing;
GRANT SELECT (id, number, signed, countersigned, client, leaf, day) ON platform_records TO penname_issuing;
