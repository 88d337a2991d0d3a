package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

func sqlState(err error) (state, constraint string) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code, pg.ConstraintName
	}
	return "", ""
}

// hostile are texts that would end a literal, an identifier or a message.
var hostile = []string{`'; DROP TABLE persons; --`, `"`, `\`, `\'`, `$1`, `%s`, `{"a"`, `E'\x00'`, `') ON CONFLICT DO NOTHING; --`, "\u202e", `-1--`}

// D01: whatever the text, it comes back as it was, and the statement is the same.
func TestD01Metacharacters(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	file(t, d, 1)
	for _, text := range hostile {
		a := assignment(t)
		a.Platform, a.Link = text, text
		if _, err := s.Assign(ctx, a); err != nil {
			t.Fatal(err)
		}
		if link, err := oneLink(ctx, d, a.Pseudonym, text); err != nil || link != text {
			t.Errorf("%q came back as %q, %v", text, link, err)
		}
		_, err := d.Cases.Case(ctx, text)
		wantErr(t, "a hostile id", err, disclose.ErrNoCase)
		if names, err := s.Assigned(ctx, []token.Pseudonym{token.Pseudonym(text)}); err != nil || len(names) != 0 {
			t.Errorf("%q: %v", text, err)
		}
		c, leaf := newCase(1)
		c.WarrantID, c.Authority, c.Submission.Evidence = text, text, []string{text}
		if c, err := d.Cases.File(ctx, c, leaf); err != nil {
			t.Error(err)
		} else if got, err := d.Cases.Case(ctx, c.ID); err != nil || got.WarrantID != text || got.Submission.Evidence[0] != text {
			t.Errorf("%q came back as %q, %v", text, got.WarrantID, err)
		}
	}
}

// D01: an address cannot switch the driver to the simple protocol.
func TestD01SimpleProtocolStaysOff(t *testing.T) {
	dsn := as(t, database(t), "penname_issuing") + "&default_query_exec_mode=simple_protocol"
	s, err := OpenIssuing(t.Context(), dsn, Options{RowKey: rowKeyOfTests})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if m := s.pool.Config().ConnConfig.DefaultQueryExecMode; m != pgx.QueryExecModeCacheStatement {
		t.Errorf("exec mode %v", m)
	}
}

// D02: a message never comes near the 4 GB at which its length would wrap.
func TestD02TooLarge(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	c, leaf := newCase(1)
	c.Submission.Warrant = strings.Repeat("a", maxSubmission)
	_, err := d.Cases.File(ctx, c, leaf)
	wantErr(t, "submission", err, ErrTooLarge)
	wantErr(t, "bundle", d.Bundles.Install(ctx, make([]byte, maxBundle+1), nil, bundleLeaf(nil), ""), ErrTooLarge)
	e := enrolment()
	e.Record.Fields["name"] = make([]byte, 17<<20)
	_, _, err = s.Enrol(ctx, e)
	wantErr(t, "field", err, ErrTooLarge)
	e.Record.Fields["name"] = make([]byte, 2<<20)
	_, _, err = s.Enrol(ctx, e)
	wantErr(t, "record", err, ErrRefused)
	filed := file(t, d, 1)
	_, err = d.Cases.Apply(ctx, filed.ID, func(c disclose.Case) (disclose.Change, error) {
		change, err := approve("bar")(c)
		change.Approval.Signed = strings.Repeat("a", maxSubmission+1)
		return change, err
	})
	wantErr(t, "approval", err, ErrTooLarge)
	if n, err := d.Log.Size(ctx); n != 1 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM persons`); n != 0 {
		t.Errorf("%d persons", n)
	}
}

// D03: no service changes or deletes what is append-only. The server says so.
func TestD03AppendOnly(t *testing.T) {
	admin := database(t)
	for _, table := range []string{"records", "persons", "pseudonyms", "log_leaves", "log_hashes", "log_checkpoints",
		"bundles", "approvals", "notices", "refusals", "cases", "rotations", "erasures", "goose_db_version",
		"ceremonies", "ceremony_messages", "ceremony_transcripts", "platform_records", "reviews", "review_entries", "review_outcomes", "exhibits", "copies", "suspensions"} {
		column := value[string](t, admin, `SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum = 1`, table)
		for _, role := range []string{"penname_issuing", "penname_disclosing"} {
			for _, statement := range []string{
				`UPDATE ` + table + ` SET ` + column + ` = ` + column,
				`DELETE FROM ` + table,
				`TRUNCATE ` + table,
				`ALTER TABLE ` + table + ` DISABLE TRIGGER ALL`,
				`DROP TABLE ` + table,
			} {
				if table == "exhibits" && role == "penname_disclosing" && strings.HasPrefix(statement, "DELETE") {
					continue // they go when the time to appeal is over: TestD03ExhibitsAreFilledOnce
				}
				err := try(t, as(t, admin, role), statement)
				if state, _ := sqlState(err); state != "42501" {
					t.Errorf("%s as %s: %v", statement, role, err)
				}
			}
		}
	}
}

// D03: and neither does the owner, by mistake.
func TestD03AppendOnlyForTheOwnerToo(t *testing.T) {
	admin := database(t)
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	c := file(t, d, 1)
	apply(t, d, c.ID, approve("bar"))
	apply(t, d, c.ID, release)
	apply(t, d, c.ID, notice(pseudonym(t)))
	if err := install(t.Context(), d, []byte("{}"), nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Enrol(t.Context(), enrolment()); err != nil {
		t.Fatal(err)
	}
	a := assignment(t)
	if _, err := s.Assign(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reserve(t.Context(), a.Platform, a.Pseudonym, day); err != nil {
		t.Fatal(err)
	}
	if err := s.Note(t.Context(), issue.Note{Kind: issue.NoteBanned, Name: a.Pseudonym, Day: day}); err != nil {
		t.Fatal(err)
	}
	if err := s.TellClaims(t.Context(), []issue.ToldClaim{{Place: make([]byte, 32), Value: make([]byte, 16)}}, day); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`UPDATE log_leaves SET leaf = 'x'`, `DELETE FROM log_leaves`, `TRUNCATE log_leaves CASCADE`,
		`UPDATE log_hashes SET hash = hash`, `DELETE FROM log_hashes`, `TRUNCATE log_hashes`,
		`DELETE FROM log_lock`, `TRUNCATE log_checkpoints`,
		`UPDATE bundles SET bundle = 'x'`, `DELETE FROM bundles`,
		`UPDATE approvals SET approved = true`, `DELETE FROM approvals`,
		`UPDATE notices SET day = day`, `DELETE FROM notices`,
		`DELETE FROM cases`, `DELETE FROM records`, `DELETE FROM persons`, `DELETE FROM pseudonyms`, `DELETE FROM handles`, `UPDATE handles SET owner = substr(place, 1)`, `TRUNCATE handles`, `DELETE FROM notes`, `UPDATE notes SET place = substr(hidden, 1, 16)`, `TRUNCATE notes`,
		`DELETE FROM claims_told`, `UPDATE claims_told SET day = day + 1`, `TRUNCATE claims_told`, `TRUNCATE cases CASCADE`, `TRUNCATE persons CASCADE`, `TRUNCATE pseudonyms`,
		`UPDATE persons SET day = day + 1`, `UPDATE records SET sealed = substr(sealed, 2)`,
	} {
		err := try(t, admin, statement)
		if state, name := sqlState(err); state != "23514" || name != "append_only" {
			t.Errorf("%s: %v", statement, err)
		}
	}
	consistent(t, d)
}

// D03: an exhibit is filled once and a copy of it never changes, for the owner too; both
// stay while the case is open, and a copy goes only with its exhibit.
func TestD03ExhibitsAreFilledOnce(t *testing.T) {
	admin := database(t)
	d, ctx := disclosing(t, admin, Options{}), t.Context()
	c, leaf := newCase(1)
	c.KeepDays, c.Exhibits = 30, []disclose.SealedExhibit{{Digest: [32]byte{1}, Length: 4}, {Digest: [32]byte{2}, Length: 4}}
	c, err := d.Cases.File(ctx, c, leaf)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Cases.PutExhibit(ctx, c.ID, [32]byte{1}, []byte("good")); err != nil {
		t.Fatal(err)
	}
	if err := d.Cases.PutCopy(ctx, c.ID, [32]byte{1}, [32]byte{8}, []byte("copy")); err != nil {
		t.Fatal(err)
	}
	refused := func(as, statement, want string) {
		t.Helper()
		if state, name := sqlState(try(t, as, statement)); state != "23514" || name != want {
			t.Errorf("%s: %s, %s", statement, state, name)
		}
	}
	service := as(t, admin, "penname_disclosing")
	refused(service, `UPDATE exhibits SET sealed = 'evil' WHERE sealed IS NOT NULL`, "exhibits_filled_once")
	refused(service, `UPDATE exhibits SET sealed = NULL`, "exhibits_filled_once")
	refused(service, `UPDATE exhibits SET sealed = 'longer' WHERE sealed IS NULL`, "exhibits_check")
	refused(service, `DELETE FROM exhibits`, "exhibits_kept")
	for _, statement := range []string{`UPDATE exhibits SET digest = digest`, `UPDATE exhibits SET keep_days = 1`} {
		refused(admin, statement, "exhibits_filled_once")
	}
	for _, statement := range []string{`UPDATE copies SET copied = 'evil'`, `UPDATE copies SET recipient = recipient`, `DELETE FROM copies`, `TRUNCATE copies`, `TRUNCATE exhibits CASCADE`} {
		refused(admin, statement, "append_only")
	}
	refused(admin, `DELETE FROM exhibits`, "exhibits_kept")
	if got, err := d.Cases.Copy(ctx, c.ID, [32]byte{1}, [32]byte{8}); err != nil || string(got) != "copy" {
		t.Error(string(got), err)
	}
	apply(t, d, c.ID, decline("bar"))
	if err := try(t, service, `DELETE FROM exhibits`); err != nil {
		t.Error(err)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM copies`); n != 0 {
		t.Error(n, "copies without their exhibit")
	}
	consistent(t, d)
}

// D04: the issuing side reads no sealed column and no link, and the disclosing
// side nothing of a person; neither writes what is the other's.
func TestD04OtherSide(t *testing.T) {
	admin := database(t)
	for role, statements := range map[string][]string{
		"penname_issuing": {
			`SELECT sealed FROM records`, `SELECT label FROM records`, `SELECT first_half FROM records`, `SELECT count(*) FROM records`,
			`SELECT link FROM pseudonyms`, `SELECT * FROM pseudonyms`, `UPDATE handles SET owner = owner`, `DELETE FROM handles`, `DELETE FROM notes`, `UPDATE notes SET place = place`, `SELECT likeness FROM persons`, `TABLE persons`,
			`SELECT 1 FROM cases`, `SELECT leaf FROM log_leaves`, `SELECT signed FROM approvals`, `SELECT case_id FROM notices`,
			`SELECT 1 FROM exhibits`, `SELECT 1 FROM copies`, `SELECT kept_until('x', 1)`, `SELECT 1 FROM bundles`, `SELECT key FROM requests_used`, `INSERT INTO log_leaves VALUES (0, 'x')`, `SELECT one FROM log_lock FOR UPDATE`,
			`INSERT INTO notices (case_id) VALUES ('x')`, `SELECT 1 FROM refusals`,
			`INSERT INTO records (label) VALUES ('x') RETURNING sealed`,
			`COPY records TO STDOUT`, `CREATE TABLE x ()`, `CREATE TEMP TABLE x ()`, `SET ROLE penname_owner`,
			`INSERT INTO pseudonyms (handle) VALUES ('x') ON CONFLICT (handle) DO UPDATE SET link = 'y'`, `SELECT link FROM pseudonyms_named`, `DELETE FROM pseudonyms_named`,
			`UPDATE reviews SET state = 'accepted'`, `UPDATE reviews SET due = day`, `SELECT 1 FROM review_entries`, `INSERT INTO review_outcomes (review) VALUES ('x')`, `SELECT name FROM reviews`,
			`INSERT INTO persons (reviewed) VALUES (true)`, `UPDATE persons SET fingerprint = 'x'`, `UPDATE persons SET reviewed = true`, `SELECT marks FROM persons`, `SELECT admitting()`,
		},
		"penname_disclosing": {
			`SELECT 1 FROM persons`, `SELECT mark FROM reviews`, `SELECT whose FROM reviews`, `UPDATE reviews SET objected = false`, `SELECT alike('x', 'y')`, `UPDATE review_outcomes SET leaf = 1`, `DELETE FROM review_entries`, `SELECT id FROM persons`, `SELECT day FROM pseudonyms`, `SELECT day FROM records`,
			`INSERT INTO persons (id) VALUES ('x')`, `INSERT INTO records (label) VALUES ('x')`, `INSERT INTO pseudonyms (handle) VALUES ('x')`, `INSERT INTO row_key (wrapped) VALUES ('x')`, `SELECT 1 FROM pseudonyms_named`,
			`SELECT 1 FROM openid_rows`, `SELECT 1 FROM openid_used`, `SELECT 1 FROM openid_entries`, `SELECT 1 FROM sessions`, `SELECT 1 FROM passkeys`, `SELECT 1 FROM handles`, `SELECT 1 FROM notes`, `SELECT mix_some('persons', NULL, 5, now(), 5)`,
			`INSERT INTO cases (id, package) VALUES ('x', 'y')`, `UPDATE cases SET salt = 'x'`, `UPDATE cases SET quorum = 1`,
			`UPDATE exhibits SET length = 5`, `UPDATE exhibits SET keep_days = 1`, `INSERT INTO exhibits (sealed) VALUES ('x')`, `UPDATE copies SET copied = 'x'`, `DELETE FROM copies`,
			`UPDATE cases SET submission = 'x'`, `CREATE TEMP TABLE x ()`, `SET ROLE penname_owner`,
		},
	} {
		for _, statement := range statements {
			err := try(t, as(t, admin, role), statement)
			if state, _ := sqlState(err); state != "42501" {
				t.Errorf("%s: %s: %v", role, statement, err)
			}
		}
	}
}

// D05: by SQL, past all of our code, no case makes an illegal step.
func TestD05IllegalTransitions(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	at := map[disclose.State]disclose.Case{}
	for _, steps := range []int{0, 2, 3, 4} {
		c := file(t, d, 2)
		changes := []func(disclose.Case) (disclose.Change, error){approve("ombudsman"), approve("bar"), release, notice(pseudonym(t))}
		for _, change := range changes[:steps] {
			c = apply(t, d, c.ID, change)
		}
		at[c.State] = c
	}
	c := file(t, d, 2)
	at[disclose.Declined] = apply(t, d, c.ID, decline("bar"))
	c = file(t, d, 2)
	at[disclose.Expired] = apply(t, d, c.ID, expire)
	spare := value[int64](t, admin, `SELECT max(index) FROM log_leaves`)
	conn := connect(t, as(t, admin, "penname_disclosing"))
	legal := map[disclose.State][]string{disclose.Recorded: {"declined"}, disclose.Authorised: {"released"}, disclose.Released: {"noticed"}}
	for from, c := range at {
		for _, to := range []string{"recorded", "authorised", "released", "noticed", "declined", "expired", "open", ""} {
			for _, leaves := range []string{"", `, authorised_leaf = $2`, `, authorised_leaf = coalesce(authorised_leaf, $2), released_leaf = $2, package = 'x'`,
				`, noticed_leaf = $2`, `, package = 'other'`, `, authorised_leaf = NULL`} {
				if slices.Contains(legal[from], to) && !strings.Contains(leaves, "other") && (from == disclose.Recorded || !strings.Contains(leaves, "NULL")) {
					continue // what these write is checked against the log, by Check
				}
				args := []any{c.ID}
				if strings.Contains(leaves, "$2") {
					args = append(args, spare)
				}
				tag, err := conn.Exec(t.Context(), `UPDATE penname.cases SET state = '`+to+`'`+leaves+` WHERE id = $1`, args...)
				if state, _ := sqlState(err); state != "23514" && state != "23505" {
					t.Errorf("%s → %s%s: %v, %v", from, to, leaves, tag, err)
				}
			}
		}
	}
	for statement, want := range map[string]string{
		`UPDATE penname.cases SET state = 'authorised', authorised_leaf = $2 WHERE id = $1`:                                                                                               "cases_quorum",
		`INSERT INTO penname.approvals (case_id, custodian, approved, signed, leaf) SELECT id, 'x', true, 'y', $2 FROM penname.cases WHERE id <> $1 AND state IN ('declined', 'noticed')`: "approvals_case_state",
		`INSERT INTO penname.notices (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day)
			VALUES ($1, 'p', 'q', '', '', '', '', '{}', $2, '2026-11-21')`: "notices_case_state",
	} {
		_, err := conn.Exec(t.Context(), statement, at[disclose.Recorded].ID, spare)
		if state, name := sqlState(err); state != "23514" || name != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	consistent(t, d)
}

// A custodian who approved, and declined under newer rules, is no part of a quorum: not by SQL either.
func TestWhoDeclinedSinceCountsNoMore(t *testing.T) {
	d := disclosing(t, database(t), Options{})
	c := file(t, d, 2)
	apply(t, d, c.ID, approve("bar"))
	if err := install(t.Context(), d, []byte(`{"next":1}`), nil); err != nil {
		t.Fatal(err)
	}
	says := func(custodian string, approved bool, leaf proof.Leaf, more ...disclose.Step) func(disclose.Case) (disclose.Change, error) {
		return func(c disclose.Case) (disclose.Change, error) {
			a := disclose.Approval{Custodian: custodian, Approved: approved, Signed: "signed by " + custodian, Bundle: strings.Repeat("ab", 32)}
			event := map[bool]disclose.Event{true: disclose.Approve, false: disclose.Decline}[approved]
			return disclose.Change{Approval: &a, Steps: append([]disclose.Step{{Event: event, Leaf: leaf}}, more...)}, nil
		}
	}
	apply(t, d, c.ID, says("bar", false, proof.ApprovalLeaf(day, c.RecordedLeaf, "bar", "declined.other", c.Salt, []byte("no"))))
	_, err := d.Cases.Apply(t.Context(), c.ID, says("ombudsman", true, proof.ApprovalLeaf(day, c.RecordedLeaf, "ombudsman", "", c.Salt, []byte("yes")),
		disclose.Step{Event: disclose.Authorise, Leaf: leafOf(&c, proof.KindAuthorised)}))
	if !strings.Contains(fmt.Sprint(cause(err)), "cases_quorum") {
		t.Errorf("authorised by one of two: %v", err)
	}
}

// D06: a duplicate is the same thing again, or a refusal, never an error of the
// server's: see also TestEnrolIsOncePerPerson and TestCaseGoesItsWay.
func TestD06Duplicates(t *testing.T) {
	admin := database(t)
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	a := assignment(t)
	for range 2 {
		if got, err := s.Assign(t.Context(), a); err != nil || got != a.Commitment {
			t.Error(err)
		}
	}
	c, leaf := newCase(1)
	if _, err := d.Cases.File(t.Context(), c, leaf); err != nil {
		t.Fatal(err)
	}
	c.WarrantID = "another" // the same bytes as another warrant cannot be; the constraint is mapped
	_, err := d.Cases.File(t.Context(), c, leaf)
	wantErr(t, "duplicate", err, ErrRefused)
	if constraint(err) == "" || strings.Contains(fmt.Sprint(err, cause(err)), c.ID) {
		t.Errorf("the cause names no constraint, or quotes the row: %v", cause(err))
	}
	if n, err := d.Log.Size(t.Context()); n != 1 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
}

// D07, F23: what is sealed opens in its own row only, and unchanged only.
func TestD07MovedRow(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	encrypt, decrypt, _ := sandbox.NewKeyring([32]byte(random(32)))
	pk, shares, err := escrowtest.ThresholdKey(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	custodians := seal.Custodians{Key: pk, Compartments: map[string][]string{"identity": {"name"}}}
	people := []issue.Enrolment{enrolment(), enrolment()}
	for i, name := range []string{"Jo Teacher", "A Troll"} {
		e := &people[i]
		if e.Record, err = seal.Seal(ctx, e.Person.Label, map[string][]byte{"name": []byte(name)}, custodians, encrypt.WrapHalf); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Enrol(ctx, *e); err != nil {
			t.Fatal(err)
		}
	}
	open := func(label string) (string, error) {
		r, err := oneRecord(ctx, d, label)
		if err != nil {
			t.Fatal(err)
		}
		half, err := escrowtest.UnwrapHalf(ctx, decrypt, label, r.FirstHalf)
		if err != nil {
			return "", err
		}
		released := make(map[string][]threshold.Share)
		for _, ks := range shares[:2] {
			share, err := r.DecryptShare(label, "identity", pk, ks)
			if err != nil {
				return "", err
			}
			released["identity"] = append(released["identity"], share)
		}
		got, err := seal.Open(r, seal.FirstHalves(half, label, []string{"name"}), pk, released)
		return string(got["name"]), err
	}
	jo, troll := people[0].Person.Label, people[1].Person.Label
	if name, err := open(jo); err != nil || name != "Jo Teacher" {
		t.Fatalf("control: %q, %v", name, err)
	}
	for what, set := range map[string]string{
		"field":       `sealed = other.sealed`,
		"first half":  `first_half = other.first_half`,
		"second half": `second_half = other.second_half`,
		"whole row":   `sealed = other.sealed, first_half = other.first_half, second_half = other.second_half`,
		"bit flip":    `sealed = set_bit(r.sealed, 200, 1 - get_bit(r.sealed, 200))`,
	} {
		backup := value[string](t, admin, `SELECT first_half FROM records WHERE label = $1`, jo)
		sql(t, admin, `
			ALTER TABLE records DISABLE TRIGGER no_change;
			CREATE TABLE saved AS SELECT * FROM records;
			UPDATE records r SET `+set+` FROM records other WHERE r.label = '`+jo+`' AND other.label = '`+troll+`'`)
		if name, err := open(jo); err == nil {
			t.Errorf("%s moved: opened as %q", what, name)
		}
		sql(t, admin, `
			UPDATE records r SET sealed = s.sealed, first_half = s.first_half, second_half = s.second_half FROM saved s WHERE r.label = s.label;
			DROP TABLE saved`)
		if value[string](t, admin, `SELECT first_half FROM records WHERE label = $1`, jo) != backup {
			t.Fatal("not restored")
		}
	}
	if name, err := open(jo); err != nil || name != "Jo Teacher" {
		t.Fatalf("control: %q, %v", name, err)
	}
}

// D08 and D09: what somebody with the superuser's rights takes back, deletes or
// changes is found, and named.
func TestD08D09ChangedBehindOurBack(t *testing.T) {
	for what, statement := range map[string]string{
		"D08 case taken back to recorded":    `UPDATE cases SET state = 'recorded', authorised_leaf = NULL, released_leaf = NULL, package = NULL WHERE quorum = 2`,
		"D08 case taken back to authorised":  `UPDATE cases SET state = 'authorised', released_leaf = NULL, package = NULL WHERE quorum = 2`,
		"D08 log cut":                        `DELETE FROM log_leaves WHERE index = (SELECT max(index) FROM log_leaves)`,
		"D08 log and its row cut":            `DELETE FROM refusals; DELETE FROM log_hashes WHERE id >= 8; DELETE FROM log_leaves WHERE index >= 5`,
		"D09 approval deleted":               `DELETE FROM approvals WHERE custodian = 'bar'`,
		"D09 warrant deleted":                `DELETE FROM approvals; DELETE FROM cases WHERE quorum = 2`,
		"D09 refusal deleted":                `DELETE FROM refusals`,
		"D09 bundle deleted":                 `DELETE FROM bundles`,
		"D09 leaf deleted":                   `DELETE FROM log_leaves WHERE index = 2`,
		"D09 hash deleted":                   `DELETE FROM log_hashes WHERE id = 2`,
		"F23 warrant changed":                `UPDATE cases SET submission = '{"Warrant":"another"}' WHERE quorum = 2`,
		"F23 salt changed":                   `UPDATE cases SET salt = sha256('x') WHERE quorum = 2`,
		"F23 package changed":                `UPDATE cases SET package = 'another' WHERE quorum = 2`,
		"F23 approval changed":               `UPDATE approvals SET signed = 'another' WHERE custodian = 'bar'`,
		"F23 approval of another custodian":  `UPDATE approvals SET custodian = 'witness' WHERE custodian = 'bar'`,
		"F23 decision turned":                `UPDATE approvals SET approved = false WHERE custodian = 'bar'`,
		"F23 bundle changed":                 `UPDATE bundles SET bundle = '{"threshold":1}'`,
		"F23 leaf changed":                   `UPDATE log_leaves SET leaf = set_bit(leaf, 100, 1 - get_bit(leaf, 100)) WHERE index = 3`,
		"F23 hash changed":                   `UPDATE log_hashes SET hash = sha256('x') WHERE id = 3`,
		"F23 leaf and its hash changed":      `UPDATE log_leaves SET leaf = convert_to(replace(convert_from(leaf, 'UTF8'), '-11-21', '-11-22'), 'UTF8') WHERE index = 7`,
		"F23 case under another leaf":        `UPDATE cases SET recorded_leaf = 2 WHERE quorum = 3`,
		"F23 checkpoint of another log":      `UPDATE log_checkpoints SET signed = convert_to(replace(convert_from(signed, 'UTF8'), 'log.example', 'xog.example'), 'UTF8'), size = 3`,
		"F23 hash that nobody made appended": `INSERT INTO log_hashes VALUES ((SELECT max(id) + 1 FROM log_hashes), sha256('x'))`,
	} {
		t.Run(what, func(t *testing.T) {
			admin := database(t)
			d := disclosing(t, admin, Options{})
			if err := install(t.Context(), d, []byte("{}"), nil); err != nil {
				t.Fatal(err)
			}
			c := file(t, d, 2)
			apply(t, d, c.ID, approve("bar"))
			apply(t, d, c.ID, approve("ombudsman"))
			apply(t, d, c.ID, release)
			refusalLeaf := leafOf(&c, "refused")
			refusalLeaf.Case, refusalLeaf.Code = nil, "warrant.expired"
			if err := d.Cases.Refuse(t.Context(), c.Authority, c.WarrantID, refusalLeaf); err != nil {
				t.Fatal(err)
			}
			file(t, d, 3)
			saveCheckpoint(t, d)
			consistent(t, d)
			sql(t, admin, `SET session_replication_role = replica; `+statement) // no trigger and no foreign key is asked
			err := d.Check(t.Context())
			wantErr(t, what, err, ErrDamaged)
			t.Log(cause(err))
		})
	}
}

// D11: NUL and invalid UTF-8 are the caller's fault, and nothing is stored.
func TestD11BadText(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	for _, text := range []string{"a\x00b", "\xff", "\xed\xa0\x80", "\xc0\x80"} {
		a := assignment(t)
		a.Platform = text
		_, err := s.Assign(ctx, a)
		wantErr(t, fmt.Sprintf("platform %q", text), err, ErrText)
		_, err = oneLink(ctx, d, a.Pseudonym, text)
		wantErr(t, fmt.Sprintf("look-up of %q", text), err, ErrText)
		_, err = d.Cases.Case(ctx, text)
		wantErr(t, fmt.Sprintf("case %q", text), err, ErrText)
		c, leaf := newCase(1)
		c.WarrantID = text
		_, err = d.Cases.File(ctx, c, leaf)
		wantErr(t, fmt.Sprintf("warrant id %q", text), err, ErrText)
	}
	if n, err := d.Log.Size(ctx); n != 0 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
}

// D12: no date and no time is infinite, in any table.
func TestD12Infinity(t *testing.T) {
	admin := database(t)
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	if _, _, err := s.Enrol(t.Context(), enrolment()); err != nil {
		t.Fatal(err)
	}
	file(t, d, 1)
	conn := connect(t, admin)
	rows, err := conn.Query(t.Context(), `SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
		WHERE table_schema = 'penname' AND table_type = 'BASE TABLE' AND data_type IN ('date', 'timestamp with time zone') AND table_name <> 'goose_db_version'`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Column string }])
	if err != nil || len(columns) < 9 {
		t.Fatalf("%d columns, %v", len(columns), err)
	}
	for _, c := range columns {
		if n := value[int](t, admin, `SELECT count(*) FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'c'
			AND pg_get_constraintdef(oid) LIKE '%isfinite(' || $2 || ')%'`, "penname."+c.Table, c.Column); n != 1 {
			t.Errorf("%s.%s may be infinite", c.Table, c.Column)
		}
	}
	for _, infinite := range []string{"infinity", "-infinity"} {
		err := try(t, as(t, admin, "penname_issuing"), `INSERT INTO openid_used (key, expires, writer) VALUES (sha256('x'), '`+infinite+`', substr(sha256('y'), 1, 16))`)
		if state, _ := sqlState(err); state != "23514" {
			t.Errorf("%s: %v", infinite, err)
		}
	}
}

// No column about a person tells a time finer than a day, or a serial number.
func TestNoFineTimesAboutPersons(t *testing.T) {
	admin := database(t)
	bad := value[[]string](t, admin, `SELECT array_agg(table_name || '.' || column_name || ' ' || data_type) FROM information_schema.columns
		WHERE table_schema = 'penname' AND table_name IN ('records', 'persons', 'pseudonyms', 'notices')
		AND (data_type LIKE 'time%' OR is_identity = 'YES' OR column_default IS NOT NULL OR data_type = 'integer')
		AND (table_name, column_name) <> ('records', 'key_group') -- which the half itself says
		AND (column_name <> 'fresh' OR column_default NOT LIKE '(date_trunc(''day''%')`) // the end of the day
	if len(bad) != 0 {
		t.Error(bad)
	}
	for what, hour := range map[string]string{"finer than an hour": "2026-11-21 10:00:01", "in a zone": "2026-11-21 10:00:00+05:30"} {
		err := try(t, as(t, admin, "penname_issuing"), `INSERT INTO openid_used (key, expires, writer) VALUES (sha256('x'), '`+hour+`', substr(sha256('y'), 1, 16))`)
		if state, _ := sqlState(err); state != "23514" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// D13: an older and a newer schema, and none at all, refuse the start.
func TestD13Schema(t *testing.T) {
	admin := database(t)
	dsn := as(t, admin, "penname_issuing")
	s := issuing(t, admin, Options{})
	sql(t, admin, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`)
	_, err := OpenIssuing(t.Context(), dsn, Options{RowKey: rowKeyOfTests})
	wantErr(t, "newer", err, ErrSchemaNewer)
	wantErr(t, "newer, while running", s.CheckSchema(t.Context()), ErrSchemaNewer)
	wantErr(t, "an old program migrates", Migrate(t.Context(), admin), ErrSchemaNewer)
	sql(t, admin, `DELETE FROM goose_db_version WHERE version_id > 0`)
	_, err = OpenIssuing(t.Context(), dsn, Options{RowKey: rowKeyOfTests})
	wantErr(t, "older", err, ErrSchemaOlder)

	empty := emptyDatabase(t)
	_, err = OpenIssuing(t.Context(), as(t, empty, "penname_issuing"), Options{RowKey: rowKeyOfTests})
	wantErr(t, "empty", err, ErrSchemaOlder)
}

// D14: of many migrators at once each succeeds, and the schema is there once.
func TestD14TwoMigrators(t *testing.T) {
	admin := emptyDatabase(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := Migrate(t.Context(), admin); err != nil {
				t.Error(err, cause(err))
			}
		})
	}
	wg.Wait()
	steps, err := own.steps(0)
	if err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM goose_db_version WHERE version_id > 0`); n != len(steps) {
		t.Errorf("%d versions applied", n)
	}
	issuing(t, admin, Options{})
}

// D15: a server that loses acknowledged data, or writes down when it was made,
// refuses the start; the operator is told which setting.
func TestD15UnsafeSettings(t *testing.T) {
	admin := database(t)
	for setting, value := range map[string]string{"synchronous_commit": "off", "log_parameter_max_length": "-1",
		"log_parameter_max_length_on_error": "-1", "log_error_verbosity": "default"} {
		const role = "penname_disclosing"
		name := strings.TrimPrefix(pathOf(admin), "/")
		sql(t, admin, `ALTER ROLE `+role+` IN DATABASE `+name+` SET `+setting+` = '`+value+`'`)
		_, err := OpenDisclosing(t.Context(), as(t, admin, role), Options{})
		wantErr(t, setting, err, ErrSettings)
		if cause(err) != setting {
			t.Errorf("%s: the cause is %q", setting, cause(err))
		}
		sql(t, admin, `ALTER ROLE `+role+` IN DATABASE `+name+` RESET `+setting)
	}
	disclosing(t, admin, Options{})

	if os.Getenv("DATABASE_URL") != "" {
		t.Skip("the server is not ours to break")
	}
	unsafe, err := sandbox.StartPostgres(t.Context(), "", "fsync=off", "full_page_writes=off", "track_commit_timestamp=on")
	if err != nil {
		t.Fatal(err)
	}
	defer unsafe.Stop()
	if err := Migrate(t.Context(), unsafe.DSN); err != nil {
		t.Fatal(err, cause(err))
	}
	_, err = OpenIssuing(t.Context(), as(t, unsafe.DSN, "penname_issuing"), Options{})
	wantErr(t, "unsafe server", err, ErrSettings)
	if cause(err) != "fsync, full_page_writes, track_commit_timestamp" {
		t.Errorf("cause: %q", cause(err))
	}
}

// D16: nothing is decided on a server that takes no writes.
func TestD16Standby(t *testing.T) {
	admin := database(t)
	dsn := as(t, admin, "penname_disclosing")
	sql(t, admin, `ALTER DATABASE `+strings.TrimPrefix(pathOf(admin), "/")+` SET default_transaction_read_only = on`)
	_, err := OpenDisclosing(t.Context(), dsn, Options{})
	wantErr(t, "read-only", err, ErrStandby)
}

// D17: the network between us and the database is authenticated by name.
func TestD17TLS(t *testing.T) {
	for dsn, ok := range map[string]bool{
		"postgres://u@127.0.0.1/d?sslmode=disable":                                  true,
		"postgres://u@[::1]/d?sslmode=disable":                                      true,
		"postgres://u@localhost/d":                                                  true,
		"host=/var/run/postgresql user=u":                                           true,
		"postgres://u@db.example/d?sslmode=verify-full":                             true,
		"postgres://u@db1.example,db2.example/d?sslmode=verify-full":                true,
		"postgres://u@db.example/d":                                                 false,
		"postgres://u@db.example/d?sslmode=disable":                                 false,
		"postgres://u@db.example/d?sslmode=allow":                                   false,
		"postgres://u@db.example/d?sslmode=prefer":                                  false,
		"postgres://u@db.example/d?sslmode=require":                                 false,
		"postgres://u@db.example/d?sslmode=verify-ca":                               false,
		"postgres://u@127.0.0.1,db.example/d?sslmode=disable":                       false,
		"postgres://u@10.0.0.1/d?sslmode=require":                                   false,
		"postgres://u@localhost.evil.example/d?sslmode=disable":                     false,
		"postgres://u@127.0.0.1.evil.example/d?sslmode=disable":                     false,
		"postgres://u@db.example/d?sslmode=verify-full&sslnegotiation=direct":       true,
		"postgres://u@db.example/d?sslmode=disable&host=127.0.0.1&target=somewhere": true, // host is the one that is used
	} {
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if private(cfg) != ok {
			t.Errorf("%s: accepted %v", dsn, !ok)
		}
	}
	_, err := OpenIssuing(t.Context(), "postgres://u@db.example/d?sslmode=require", Options{})
	wantErr(t, "open", err, ErrTLS)
	wantErr(t, "migrate", Migrate(t.Context(), "postgres://u@db.example/d?sslmode=require"), ErrTLS)
	_, err = OpenIssuing(t.Context(), "postgres://u:pass-word@%zz", Options{})
	wantErr(t, "no address", err, ErrDSN)
	if strings.Contains(fmt.Sprint(err, cause(err)), "pass-word") {
		t.Error("the password is in the error")
	}
}

// A role that may more than its side needs, or less, refuses the start.
func TestWrongRole(t *testing.T) {
	admin := database(t)
	_, err := OpenIssuing(t.Context(), admin, Options{RowKey: rowKeyOfTests})
	wantErr(t, "superuser", err, ErrRole)
	_, err = OpenIssuing(t.Context(), as(t, admin, "penname_disclosing"), Options{})
	wantErr(t, "the other side", err, ErrRole)
	dsn := as(t, admin, "penname_issuing")
	name := strings.TrimPrefix(pathOf(admin), "/")
	for grant, revoke := range map[string]string{
		`GRANT SELECT (sealed) ON records TO penname_issuing`:                                 `REVOKE SELECT (sealed) ON records FROM penname_issuing`,
		`GRANT SELECT ON pseudonyms TO PUBLIC`:                                                `REVOKE SELECT ON pseudonyms FROM PUBLIC`,
		`GRANT DELETE ON persons TO penname_issuing`:                                          `REVOKE DELETE ON persons FROM penname_issuing`,
		`GRANT EXECUTE ON FUNCTION never() TO PUBLIC`:                                         `REVOKE EXECUTE ON FUNCTION never() FROM PUBLIC`,
		`GRANT CREATE ON SCHEMA penname TO penname_issuing`:                                   `REVOKE CREATE ON SCHEMA penname FROM penname_issuing`,
		`GRANT TEMPORARY ON DATABASE ` + name + ` TO PUBLIC`:                                  `REVOKE TEMPORARY ON DATABASE ` + name + ` FROM PUBLIC`,
		`REVOKE INSERT (link) ON pseudonyms FROM penname_issuing`:                             `GRANT INSERT (link) ON pseudonyms TO penname_issuing`,
		`GRANT pg_read_all_data TO penname_issuing`:                                           `REVOKE pg_read_all_data FROM penname_issuing`,
		`ALTER ROLE penname_issuing CREATEROLE`:                                               `ALTER ROLE penname_issuing NOCREATEROLE`,
		`CREATE TABLE extra (); GRANT SELECT ON extra TO PUBLIC; ALTER TABLE extra ADD x int`: `DROP TABLE extra`,
	} {
		sql(t, admin, grant)
		_, err := OpenIssuing(t.Context(), dsn, Options{RowKey: rowKeyOfTests})
		wantErr(t, grant, err, ErrRole)
		sql(t, admin, revoke)
		issuing(t, admin, Options{}).Close()
	}
	sql(t, admin, `GRANT SELECT ON ALL TABLES IN SCHEMA penname TO penname_issuing, PUBLIC`)
	if err := Migrate(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	issuing(t, admin, Options{}) // the migration took it back
}

// D18: nothing of what is stored, and no parameter of a failed statement, is in
// the server's log or in pg_stat_statements, even where an administrator logs
// all statements.
func TestD18ServerLog(t *testing.T) {
	if server.Dir == "" {
		t.Skip("the server's log is not ours to read")
	}
	admin := database(t)
	sql(t, admin, `ALTER DATABASE `+strings.TrimPrefix(pathOf(admin), "/")+` SET log_statement = 'all'`)
	sql(t, admin, `ALTER DATABASE `+strings.TrimPrefix(pathOf(admin), "/")+` SET log_min_duration_statement = 0`)
	sql(t, admin, `CREATE EXTENSION pg_stat_statements SCHEMA public`)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	const canary = "zebra-canary"
	a := assignment(t)
	a.Platform, a.Link = canary, canary
	if _, err := s.Assign(ctx, a); err != nil {
		t.Fatal(err)
	}
	a = assignment(t)
	a.Platform = canary + "\x00" // refused as text
	_, err := s.Assign(ctx, a)
	wantErr(t, "NUL", err, ErrText)
	a.Platform, a.Link = canary, strings.Repeat(canary, 100) // refused by a CHECK, whose DETAIL quotes the row
	_, err = s.Assign(ctx, a)
	wantErr(t, "too long", err, ErrRefused)
	c, leaf := newCase(1)
	c.Submission.Warrant, c.Authority = canary, canary
	if _, err := d.Cases.File(ctx, c, leaf); err != nil {
		t.Fatal(err)
	}
	c.WarrantID = "x" // refused by a UNIQUE, whose DETAIL quotes the key
	_, err = d.Cases.File(ctx, c, leaf)
	wantErr(t, "duplicate", err, ErrRefused)
	_, err = oneLink(ctx, d, token.Pseudonym(canary), canary)
	wantErr(t, "look-up", err, disclose.ErrDataNotHeld)

	log, err := os.ReadFile(filepath.Join(server.Dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(log, []byte("INSERT INTO pseudonyms")) || !bytes.Contains(log, []byte("violates check constraint")) {
		t.Error("the log does not hold the statements: this test would see nothing")
	}
	for _, secret := range []string{canary, string(a.Pseudonym), c.ID, fmt.Sprintf("%x", c.WarrantHash)} {
		if bytes.Contains(log, []byte(secret)) {
			t.Errorf("the server's log holds %q", secret)
		}
	}
	if n := value[int](t, admin, `SELECT count(*) FROM public.pg_stat_statements WHERE query LIKE '%INTO pseudonyms%'`); n == 0 {
		t.Error("pg_stat_statements is empty: this test would see nothing")
	}
	if n := value[int](t, admin, `SELECT count(*) FROM public.pg_stat_statements WHERE query LIKE '%'||$1||'%'`, canary); n != 0 {
		t.Error("pg_stat_statements holds parameters")
	}
}

// No refusal carries what was asked, in its text or in its cause.
func TestErrorsCarryNoData(t *testing.T) {
	admin := database(t)
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	const canary = "zebra-canary"
	a := assignment(t)
	a.Platform, a.Link = canary, strings.Repeat(canary, 1000)
	_, err1 := s.Assign(t.Context(), a)
	_, err2 := oneLink(t.Context(), d, token.Pseudonym(canary), canary+"\x00")
	ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	_, err3 := s.Assign(ctx, a)
	c, leaf := newCase(1)
	c.Bundle, c.Submission = strings.Repeat(canary, 10), policy.Submission{Warrant: canary}
	_, err4 := d.Cases.File(t.Context(), c, leaf)
	for i, err := range []error{err1, err2, err3, err4} {
		if refusal.Of(err) == nil || strings.Contains(err.Error()+cause(err), canary) {
			t.Errorf("%d: %v: %v", i, err, cause(err))
		}
	}
}
