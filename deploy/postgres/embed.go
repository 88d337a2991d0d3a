// Package postgres holds the SQL that an administrator applies to a server, as
// the files that the tests apply too.
package postgres

import _ "embed"

// Roles is roles.sql: the login roles, the owner, the schema. It is idempotent.
//
//go:embed roles.sql
var Roles string
