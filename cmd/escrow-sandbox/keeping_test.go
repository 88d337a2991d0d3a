package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	escrowd "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/escrow/escrowtest"

	"github.com/rogpeppe/go-internal/testscript"
)

// backup is a record's row as an old copy of the database has it.
type backup struct{ label, firstHalf, insert string }

// keysWord plays `escrowd keys rotate`, against the sandbox's key service.
func keysWord(s *scene, ts *testscript.TestScript, args []string) error {
	asJSON := len(args) > 1 && args[1] == "--json"
	return escrowd.Rotate(context.Background(), s.Service.Keeping, s.Clock.Now, false, asJSON, ts.Stdout(), ts.Stderr())
}

// psql runs SQL as the database's administrator, whom no trigger stops.
func (s *scene) psql(sql string) (string, error) {
	out, err := exec.Command("psql", "--no-psqlrc", "-qtA", "--set", "ON_ERROR_STOP=1", "--dbname", s.Postgres.DSN, "-c",
		"SET search_path = penname; SET session_replication_role = replica; "+sql).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// record keep | restore: the one record that there is goes into a backup, and
// comes back from it.
func recordWord(s *scene, _ *testscript.TestScript, args []string) (err error) {
	if args[0] == "restore" {
		_, err = s.psql(`DELETE FROM records WHERE label = '` + s.backup.label + `'; ` + s.backup.insert)
		return err
	}
	if s.backup.label, err = s.psql(`SELECT label FROM records WHERE erased IS NULL AND label <> '` + s.backup.label + `' ORDER BY label LIMIT 1`); err != nil {
		return err
	}
	if s.backup.firstHalf, err = s.psql(`SELECT first_half FROM records WHERE label = '` + s.backup.label + `'`); err != nil {
		return err
	}
	s.backup.insert, err = s.psql(`SELECT format('INSERT INTO records (label, first_half, second_half, sealed, day) VALUES (%L, %L, %L, %L, %L)',
		label, first_half, second_half, sealed, day) FROM records WHERE label = '` + s.backup.label + `'`)
	return err
}

// half opens asks the key service, with the disclosing side's own rights, for
// the first half that the backup holds.
func halfWord(s *scene, _ *testscript.TestScript, _ []string) error {
	half, err := escrowtest.UnwrapHalf(context.Background(), s.Service.Disclosing.Keys, s.backup.label, s.backup.firstHalf)
	if err == nil && len(half) != 32 {
		err = errors.New("not a half")
	}
	return err
}
