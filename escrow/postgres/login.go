package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Login returns the address at which role logs in to the database of adminDSN,
// which is a postgres:// URL, and gives the role its password. It is for the
// sandbox and for tests: in production an administrator sets the passwords.
//
// The password follows from the administrator's, so that whoever shares the
// server agrees on it. Without one, the server trusts its clients, and the role
// gets none either.
func Login(ctx context.Context, adminDSN, role string) (string, error) {
	u, err := url.Parse(adminDSN)
	if err != nil || u.User == nil {
		return "", ErrDSN
	}
	secret, ok := u.User.Password()
	if !ok {
		u.User = url.User(role)
		return u.String(), nil
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("penname/login/v1 " + role))
	password := hex.EncodeToString(mac.Sum(nil))
	u.User = url.UserPassword(role, password)
	// It is there already, mostly. Only a refused login is a reason to set it.
	if conn, err := pgx.Connect(ctx, u.String()); err == nil {
		return u.String(), conn.Close(ctx)
	}
	admin, err := pgx.Connect(ctx, adminDSN)
	if err != nil {
		return "", ErrUnavailable
	}
	defer admin.Close(context.WithoutCancel(ctx))
	// One at a time, or the row of the role is "concurrently updated".
	_, err = admin.Exec(ctx, `BEGIN; LOCK TABLE pg_auth_members IN SHARE ROW EXCLUSIVE MODE;
		ALTER ROLE `+pgx.Identifier{role}.Sanitize()+` PASSWORD '`+password+`'; COMMIT`)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return "", ErrMigrate.Because(&serverError{state: pg.Code})
	} else if err != nil {
		return "", ErrUnavailable
	}
	return u.String(), nil
}
