package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

// TestPrivacyCanary is I12 and N09. It plays the whole story on a real Vault, with PostgreSQL
// logging every statement, and then searches everything that it left behind for
// the identities that went in: the service's log, what was printed, every file
// of PostgreSQL (tables, write-ahead log, server log, a full dump), Vault's
// storage and audit file, and the folders of custodians, court and requester.
//
// The identities are searched for in clear, in base64 and in hexadecimal. The
// search is shown to work: the one place where they must be found, the answer
// to the requester, is searched too.
func TestPrivacyCanary(t *testing.T) {
	logs := &syncBuffer{}
	tb, err := world.Start(t.Context(), programs, world.Options{
		Listen: "127.0.0.1:0", Vault: true, Log: logs, Progress: os.Stderr,
		Postgres: []string{"log_statement=all", "log_min_duration_statement=0", "shared_preload_libraries=pg_stat_statements"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	}()
	var printed strings.Builder
	if err := world.NewStory(tb, &printed).Play(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, printed.String())
	}
	needles := encodings(canaries())

	for name, text := range map[string]string{"the service's log": logs.String(), "the story": printed.String()} {
		if text == "" {
			t.Errorf("%s is empty: nothing was searched", name)
		}
		report(t, name, []byte(text), needles)
	}
	searchFolders(t, tb, needles)
	// What was said is with those who judge it, and with nobody else.
	words := encodings([]string{"I know where you live, and I will come for you tonight."})
	report(t, "the service's log", []byte(logs.String()), words)
	searchOperator(t, tb, words)
	kept, err := filepath.Glob(filepath.Join(tb.Exhibits(), "*"))
	if err != nil || !slices.ContainsFunc(kept, func(name string) bool {
		b, err := os.ReadFile(name)
		return err == nil && contains(b, words)
	}) {
		t.Errorf("the words that were searched for are not those of the story: %v", err)
	}
	for name, body := range refusedBodies(t, tb) {
		report(t, name, []byte(body), needles)
	}
	// The search finds what is there: planted in a file, in each encoding.
	for _, n := range needles {
		if !contains([]byte("before "+string(n)+" after"), needles) {
			t.Errorf("the search would not find %q", n)
		}
	}
}

// searchFolders searches every file of PostgreSQL, of Vault and of those outside.
func searchFolders(t *testing.T, tb *world.World, needles [][]byte) {
	t.Helper()
	searchOperator(t, tb, needles)
	if n := searchFiles(t, "what outsiders keep", tb.Dir, needles); n == 0 {
		t.Errorf("no file was searched in %q", tb.Dir)
	}
}

// searchOperator searches every file of PostgreSQL and of Vault.
func searchOperator(t *testing.T, tb *world.World, needles [][]byte) {
	t.Helper()
	for name, dir := range map[string]string{"PostgreSQL's files": tb.Postgres.Dir, "Vault's storage": tb.Vault.Storage} {
		if n := searchFiles(t, name, dir, needles); n == 0 {
			t.Errorf("%s: no file was searched in %q", name, dir)
		}
	}
	for name, file := range map[string]string{"Vault's audit": tb.Vault.Audit, "Vault's log": tb.Vault.Log} {
		b, err := os.ReadFile(file)
		if err != nil || len(b) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		report(t, name, b, needles)
	}
}

// refusedBodies sends requests that carry an identity to every endpoint, all to
// be refused, and returns what came back.
func refusedBodies(t *testing.T, tb *world.World) map[string]string {
	t.Helper()
	who := sandbox.People()[0]
	q := url.Values{"name": {who.Name}, "state": {who.Email}, "code": {who.Birthdate}, "client_id": {who.Subject}}.Encode()
	bodies := make(map[string]string)
	send := func(method, path, contentType, body string) {
		req, err := http.NewRequestWithContext(t.Context(), method, tb.Origin+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Authorization", "Bearer "+who.Email)
		req.Header.Set("DPoP", who.Email)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode < 400 && res.StatusCode != http.StatusSeeOther && path != "/" {
			t.Errorf("%s %s was not refused: %d", method, path, res.StatusCode)
		}
		headers := &bytes.Buffer{}
		if err := res.Header.Write(headers); err != nil {
			t.Fatal(err)
		}
		bodies[method+" "+strings.Split(path, "?")[0]] = string(b) + headers.String()
	}
	jsonBody := fmt.Sprintf(`{"warrant":%q,"evidence":[%q]}`, who.Name, who.Email)
	for _, path := range []string{"/enrol/callback/sandbox?", "/me?", "/authorize?", "/userinfo?", "/v1/cases?", "/v1/warrants/none?",
		"/v1/warrants/none/package?", "/v1/cases/none?", "/status/none?", "/log/none?", "/nowhere?"} {
		send(http.MethodGet, path+q, "", "")
	}
	for _, path := range []string{"/v1/warrants", "/v1/cases/none/decisions"} {
		send(http.MethodPost, path, "application/json", jsonBody)
		send(http.MethodPost, path+"?broken", "application/json", jsonBody[:len(jsonBody)-2])
	}
	for _, path := range []string{"/token", "/par", "/introspect", "/revoke"} {
		send(http.MethodPost, path, "application/x-www-form-urlencoded", q)
	}
	return bodies
}

// encodings returns the needles in the forms in which they could hide.
func encodings(values []string) [][]byte {
	var all [][]byte
	for _, v := range values {
		all = append(all, []byte(v), []byte(fmt.Sprintf("%x", v)), []byte(url.QueryEscape(v)))
		// Base64 of a text inside another depends on where it starts: the middle
		// of each of the three alignments.
		for shift := range 3 {
			enc := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + v))
			if len(enc) > 14 {
				all = append(all, []byte(enc[4:len(enc)-4]))
			}
		}
	}
	return all
}

func contains(text []byte, needles [][]byte) bool {
	for _, n := range needles {
		if bytes.Contains(text, n) {
			return true
		}
	}
	return false
}

func report(t *testing.T, where string, text []byte, needles [][]byte) {
	t.Helper()
	for _, n := range needles {
		if bytes.Contains(text, n) {
			t.Errorf("%s holds an identity (%q)", where, n)
		}
	}
}

// searchFiles searches every file below dir and returns how many there were.
func searchFiles(t *testing.T, where, dir string, needles [][]byte) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // files come and go while PostgreSQL runs
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		n++
		report(t, where+": "+filepath.Base(name), b, needles)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPrivacyCanaryInStatistics: PostgreSQL's statistics keep statements, and no
// value of theirs. What the service itself tells is searched by TestMetricsAfterTheStory and
// TestTracesOfTheStory; its metrics are at no address that people reach.
func TestPrivacyCanaryInStatistics(t *testing.T) {
	if os.Getenv("DATABASE_URL") != "" {
		t.Skip("the extension must be loaded when the server starts")
	}
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: &syncBuffer{}, Postgres: []string{
		"shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=all", "pg_stat_statements.track_utility=on"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	}()
	db, err := pgx.Connect(t.Context(), tb.Postgres.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context()) //nolint:errcheck // a test's connection
	if _, err := db.Exec(t.Context(), `CREATE EXTENSION pg_stat_statements`); err != nil {
		t.Fatal(err)
	}
	if err := world.NewStory(tb, io.Discard).Play(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(t.Context(), `SELECT query FROM pg_stat_statements`)
	if err != nil {
		t.Fatal(err)
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(statements) < 20 {
		t.Fatalf("%d statements: %v", len(statements), err)
	}
	report(t, "pg_stat_statements", []byte(strings.Join(statements, "\n")), encodings(canaries()))
	for _, path := range []string{"/metrics", "/debug/vars", "/debug/pprof/heap", "/debug/requests"} {
		if a := send(t, http.MethodGet, tb.Origin+path, "", ""); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers %d", path, a.StatusCode)
		}
	}
}

// TestPrivacyCanaryAfterErasure plays the story, has a person delete herself and
// searches everything again: for the identities in clear, and for her record as
// it was stored, sealed fields and both halves.
//
// What is promised of the stored bytes: the row is blanked at once; the table's
// files hold nothing of it once the operator has run VACUUM FULL records and a
// checkpoint has passed; of a plain VACUUM, PostgreSQL does not promise that it
// overwrites what it frees. The write-ahead log keeps the row until its segments are reused, and an archive of
// it for as long as the archive: that is a backup, and opens for nobody, since
// the version of the key that the first half is under was destroyed.
func TestPrivacyCanaryAfterErasure(t *testing.T) {
	if os.Getenv("DATABASE_URL") != "" {
		t.Skip("another server's files cannot be read")
	}
	logs := &syncBuffer{}
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Vault: true, Log: logs, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	}()
	var printed strings.Builder
	if err := world.NewStory(tb, &printed).Play(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, printed.String())
	}
	db, err := pgx.Connect(t.Context(), tb.Postgres.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context()) //nolint:errcheck // a test's connection
	do := func(statement string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	stored := storedRecords(t, db)
	do(`CHECKPOINT`)
	everyRecord := piecesOf(stored)
	if table, wal := filesWith(t, tb.Postgres.Dir, everyRecord); table == 0 || wal == 0 {
		t.Fatalf("the search finds stored records in %d files of tables and %d of the log", table, wal)
	}

	deletes(t, tb, sandbox.People()[0].Name)

	var label string
	if err := db.QueryRow(t.Context(), `SELECT label FROM penname.records WHERE erased IS NOT NULL`).Scan(&label); err != nil {
		t.Fatal(err)
	}
	erased := stored[label]
	if _, err := escrowtest.UnwrapHalf(t.Context(), tb.Service.Disclosing.Keys, label, erased.FirstHalf); !errors.Is(err, keep.ErrArchived) {
		t.Errorf("the first half that backups keep: %v", err)
	}
	do(`VACUUM FULL penname.records`)
	do(`CHECKPOINT`)
	gone := piecesOf(map[string]storedRecord{label: erased})
	table, wal := filesWith(t, tb.Postgres.Dir, gone)
	if table != 0 {
		t.Errorf("%d files of PostgreSQL, other than its write-ahead log, hold a part of the erased record", table)
	}
	t.Logf("%d segments of the write-ahead log hold the erased record, sealed under a key that was destroyed", wal)
	delete(stored, label)
	if table, _ := filesWith(t, tb.Postgres.Dir, piecesOf(stored)); table == 0 {
		t.Error("the search does not find the records that are left either")
	}

	needles := encodings(canaries())
	report(t, "the service's log", []byte(logs.String()), needles)
	searchFolders(t, tb, needles)
	for where, dir := range map[string]string{"Vault's storage": tb.Vault.Storage, "what outsiders keep": tb.Dir} {
		searchFiles(t, where, dir, gone)
	}
	report(t, "the service's log", []byte(logs.String()), gone)
}

// deletes has a person delete themself, and carries it out.
func deletes(t *testing.T, tb *world.World, name string) {
	t.Helper()
	b := world.NewBrowser()
	for _, deed := range []func() error{
		func() error { return b.Enrol(t.Context(), tb.Origin, name) },
		func() error { return b.Open(t.Context(), tb.Origin+"/me/delete") },
		func() error { return b.Press(t.Context(), "Delete my identity", nil) },
		func() error { return b.Shows(http.StatusOK, "It will be complete by") },
		func() error { return tb.Service.CarryOutErasures(t.Context()) },
	} {
		if err := deed(); err != nil {
			t.Fatal(err)
		}
	}
}

// storedRecord is what the database has of a record.
type storedRecord struct {
	FirstHalf  string
	SecondHalf []byte
	Sealed     []byte
}

func storedRecords(t *testing.T, db *pgx.Conn) map[string]storedRecord {
	t.Helper()
	all := make(map[string]storedRecord)
	rows, err := db.Query(t.Context(), `SELECT label, first_half, second_half, sealed FROM penname.records WHERE erased IS NULL`)
	if err != nil {
		t.Fatal(err)
	}
	var label string
	var r storedRecord
	if _, err := pgx.ForEachRow(rows, []any{&label, &r.FirstHalf, &r.SecondHalf, &r.Sealed}, func() error {
		all[label] = r
		r = storedRecord{}
		return nil
	}); err != nil || len(all) < 2 {
		t.Fatalf("%d records: %v", len(all), err)
	}
	return all
}

// piecesOf cuts what is stored into pieces of 24 bytes: the log's pages and a
// table's may part a longer one. Beginnings that all values share are left out.
func piecesOf(records map[string]storedRecord) (pieces [][]byte) {
	for _, r := range records {
		_, half := keep.GroupOf(r.FirstHalf)
		for _, value := range [][]byte{[]byte(half)[len("vault:v1:"):], r.SecondHalf, r.Sealed} {
			for piece := range slices.Chunk(value, 24) {
				if len(piece) == 24 {
					pieces = append(pieces, piece)
				}
			}
		}
	}
	return pieces
}

// filesWith counts the files below dir that hold one of the pieces: tables and
// all else, and segments of the write-ahead log.
func filesWith(t *testing.T, dir string, pieces [][]byte) (table, wal int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // files come and go while PostgreSQL runs
		}
		b, err := os.ReadFile(name)
		if err != nil || !contains(b, pieces) {
			return nil //nolint:nilerr // likewise
		}
		if filepath.Base(filepath.Dir(name)) == "pg_wal" {
			wal++
		} else {
			table++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return table, wal
}
