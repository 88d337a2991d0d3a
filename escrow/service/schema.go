package service

import (
	"context"
	"errors"
	"time"

	"github.com/penname/penname/escrow/postgres"
)

// MayRun returns nil if a program that was made for a schema may work with the databases of a
// configuration, else why not: [postgres.MayRun]. It asks nothing else, and for ten seconds at
// most: packages wait for it, and nothing else is installed meanwhile.
func MayRun(ctx context.Context, file string, schema int64) error {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	c, err := ReadConfig(file)
	if err != nil {
		return err
	}
	databases := map[string]string{}
	if c.Issue != nil {
		databases["issue.database_file"] = c.Issue.Database
	}
	if c.Disclose != nil {
		databases["disclose.database_file"] = c.Disclose.Database
	}
	if c.Keep != nil {
		databases["keep.database_file"] = c.Keep.Database
	}
	var older error
	for setting, name := range databases {
		err := of(setting, withDSN(name, func(dsn string) error { return postgres.MayRun(ctx, dsn, schema) }))
		if err != nil && !errors.Is(err, postgres.ErrSchemaOlder) {
			return c.placed(err)
		}
		older = errors.Join(older, c.placed(err))
	}
	return older
}
