//go:build tools

// Package vault pins the HashiCorp Vault server that the sandbox and the tests
// run. It is a module of its own, so that none of Vault's dependencies reach
// Penname's go.mod. Build it with
//
//	CGO_ENABLED=0 go build -tags minimal -o vault github.com/hashicorp/vault
package vault

import _ "github.com/hashicorp/vault"
