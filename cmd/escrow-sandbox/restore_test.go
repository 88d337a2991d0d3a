package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/translog"
)

// TestFoundN2AnOlderDumpOnANewServer is the operator's way back, as the handbook tells
// it, with a real Vault of today: a dump from before a case was opened, and before
// somebody was deleted, into a database of another name, on a server that has no role
// of Penname. Nothing of it worked: the migration failed, or called a database up to
// date on which no side started.
func TestFoundN2AnOlderDumpOnANewServer(t *testing.T) {
	tb, ctx := startVaultForTest(t), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
	}
	run := func(name string, args ...string) {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	operate := func(want string, args ...string) {
		t.Helper()
		var said strings.Builder
		if programs.Escrowd(ctx, args, &said, &said); !strings.Contains(said.String(), want) {
			t.Fatalf("escrowd %s: %q, want %q", strings.Join(args, " "), said.String(), want)
		}
	}
	dir := t.TempDir()
	dump, mirror := filepath.Join(dir, "penname.dump"), filepath.Join(dir, "mirror")

	st := filedCase(t, tb)
	st.Author = sandbox.People()[1]
	gone := world.NewBrowser()
	must(gone.Visit(ctx, tb.Town, sandbox.People()[2].Name))
	before := readRecords(t, tb.Postgres.DSN)
	run("pg_dump", "--format=custom", "--schema=penname", "--dbname", tb.Postgres.DSN, "--file", dump)

	for _, id := range []string{"alba", "bruno"} {
		must(st.Approve(ctx, id))
	}
	must(st.Open(ctx))
	must(gone.Open(ctx, tb.Origin+"/me/delete"))
	must(gone.Press(ctx, "Delete my identity", nil))
	must(tb.Service.CarryOutErasures(ctx))
	if said, code := tb.Escrow(ctx, "log", "mirror", mirror, "--bundle", tb.Path("bundle.json"), "--server", tb.Origin); code != 0 {
		t.Fatal(said)
	}

	server, err := sandbox.StartPostgres(ctx, "")
	must(err)
	t.Cleanup(func() { server.Stop() })
	conn, err := pgx.Connect(ctx, server.DSN)
	must(err)
	_, err = conn.Exec(ctx, `CREATE DATABASE registry`)
	must(errors.Join(err, conn.Close(ctx)))
	u, err := url.Parse(server.DSN)
	must(err)
	u.Path = "/registry"
	began := time.Now()
	run("pg_restore", "--no-owner", "--no-acl", "--exit-on-error", "--single-transaction", "--dbname", u.String(), dump)
	operate("the schema is up to date", "migrate", "--database-file", write(t, "owner.dsn", u.String(), 0o600))
	logins := map[string]string{}
	for _, role := range []string{"penname_issuing", "penname_disclosing", "penname_keeping"} {
		logins[role], err = postgres.Login(ctx, u.String(), role)
		must(err)
	}
	disclosing := write(t, "disclosing.dsn", logins["penname_disclosing"], 0o600)
	operate("every row has its leaf", "log", "check", "--database-file", disclosing)

	p := tb.Service.Parts
	i, d, k := *p.Issuing, *p.Disclosing, *p.Keeping
	p.Issuing, p.Disclosing, p.Keeping = &i, &d, &k
	must(i.OpenStore(ctx, logins["penname_issuing"], postgres.Options{}))
	must(d.OpenStore(ctx, logins["penname_disclosing"], postgres.Options{}))
	k.Store, err = postgres.OpenKeeping(ctx, logins["penname_keeping"], postgres.Options{})
	must(err)
	t.Cleanup(p.Close)
	if _, err := service.New(ctx, p); !errors.Is(err, translog.ErrRollback) {
		t.Fatalf("an older log is served: %v", err)
	}
	operate("is closed: the court must file a new warrant", "log", "reconcile", "--from", mirror, "--bundle", tb.Path("bundle.json"), "--database-file", disclosing)
	operate("that a restored backup did not have", "log", "check", "--database-file", disclosing)
	restored, err := service.New(ctx, p)
	must(err)
	t.Logf("from the dump to a service in %s", time.Since(began).Round(time.Millisecond))

	// N08: nobody's half of that day opens that is of the group of who was erased, and all
	// others do; it is said, and stops no rotation.
	lost := 0
	for _, r := range before {
		group, _ := keep.GroupOf(r.FirstHalf)
		oldest, _, err := k.Keys.Versions(ctx, group)
		must(err)
		if group == 0 {
			t.Error("somebody enrolled into no group")
		}
		var want error
		if oldest > 1 {
			want = keep.ErrArchived
			lost++
		}
		if _, err := escrowtest.UnwrapHalf(ctx, d.Keys, r.Label, r.FirstHalf); !errors.Is(err, want) {
			t.Errorf("a record of group %d, whose oldest version is %d: %v", group, oldest, err)
		}
	}
	if lost == 0 {
		t.Error("no record is lost, nor who was erased")
	}
	if _, err := keep.Openable(ctx, k.Keys, k.Store.Groups, k.Store.Below, 0); !errors.Is(err, keep.ErrUnopenable) {
		t.Errorf("nobody is told: %v", err)
	}
	must(restored.CarryOutErasures(ctx))
	_, err = k.Keeper(tb.Clock.Now, nil).Rotate(ctx)
	must(err)
	operate("that a restored backup did not have", "log", "check", "--database-file", disclosing)
}

// TestFoundN2AnOlderSnapshotAlone: Vault was lost, and of its snapshots only one from
// before the last rotation is left. Nothing starts on it, until somebody rotates the key
// by hand beyond what the database saw: then pen names are what they were, and no older
// record opens.
func TestFoundN2AnOlderSnapshotAlone(t *testing.T) {
	tb, ctx := startVaultForTest(t), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
	}
	who := world.NewBrowser()
	must(who.Visit(ctx, tb.Town, sandbox.People()[0].Name))
	post, err := who.Say(ctx, tb.Town, "before")
	must(err)
	snapshot, err := vaultCall(ctx, tb.Vault, http.MethodGet, "sys/storage/raft/snapshot", nil)
	must(err)
	_, err = tb.Service.Keeping.Keeper(tb.Clock.Now, nil).Rotate(ctx)
	must(err)
	must(tb.Vault.Restore(ctx, snapshot, tb.Vault))

	p := tb.Service.Parts
	open := func() error {
		i, d, k := *p.Issuing, *p.Disclosing, *p.Keeping
		p.Issuing, p.Disclosing, p.Keeping = &i, &d, &k
		must(tb.OpenVault(ctx, &i, &d, &k))
		_, err := service.New(ctx, p)
		return err
	}
	if err := open(); !errors.Is(err, keep.ErrRollback) {
		t.Fatalf("an older snapshot: %v", err)
	}
	for group := range 33 { // all were rotated
		key := "penname-transit/keys/penname-record"
		if group > 0 {
			key = fmt.Sprint("penname-groups/keys/penname-record-", group)
		}
		for _, call := range [][2]string{{key + "/rotate", `{}`}, {key + "/rotate", `{}`},
			{key + "/config", `{"min_decryption_version": 3, "min_encryption_version": 3}`}, {key + "/trim", `{"min_available_version": 3}`}} {
			_, err := vaultCall(ctx, tb.Vault, http.MethodPost, call[0], []byte(call[1]))
			must(err)
		}
	}
	must(open())
	if _, err := keep.Openable(ctx, p.Keeping.Keys, p.Keeping.Store.Groups, p.Keeping.Store.Below, 0); !errors.Is(err, keep.ErrUnopenable) {
		t.Errorf("%v", err)
	}
	_, err = p.Keeping.Keeper(tb.Clock.Now, nil).Rotate(ctx)
	must(err)
	again := world.NewBrowser()
	must(again.Visit(ctx, tb.Town, sandbox.People()[0].Name))
	if same, err := again.Say(ctx, tb.Town, "after"); err != nil || same.Author != post.Author {
		t.Errorf("another pen name: %v", err)
	}
}
