package service

import (
	"fmt"
	"net"
	"regexp"
	"testing"
	"time"

	"github.com/penname/penname/escrow/postgres"
)

// TestNobodyWaitsForASilentDatabase: dpkg holds its lock while it asks, so that a database that
// takes connections and says no more, or lets the question go unanswered, counts as away.
func TestNobodyWaitsForASilentDatabase(t *testing.T) {
	for name, said := range map[string]string{
		"says nothing":               "",
		"lets in and answers no one": "R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I", // AuthenticationOk, ReadyForQuery
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					t.Cleanup(func() { c.Close() })
					c.Write([]byte(said)) //nolint:errcheck // who asks is gone
				}
			}()
			dsn := write(t, "database.dsn", fmt.Sprintf("postgres://penname_issuing:x@%s/penname?sslmode=disable", l.Addr()), 0o600)
			config := write(t, "escrowd.toml", regexp.MustCompile(`(?m)^database_file +=.*`).ReplaceAllLiteralString(sample(t), fmt.Sprintf("database_file = %q", dsn)), 0o644)
			answered := make(chan error, 1)
			go func() { answered <- MayRun(t.Context(), config, 1) }()
			select {
			case err := <-answered:
				if !postgres.ErrUnavailable.Is(refusalOf(err)) {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Error("it waits and waits")
			}
		})
	}
}
