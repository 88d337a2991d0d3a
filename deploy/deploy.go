// Package deploy holds the files that an operator applies, so that the program
// and its tests apply the very same ones.
package deploy

import "embed"

// VaultPolicies has one Vault policy for each side of the house, and one for each
// side's renewer: vault-policies/penname-issuing.hcl, penname-disclosing.hcl,
// penname-keeping.hcl and, likewise, penname-issuing-renewer.hcl.
//
// They do not lie in deploy/vault, because that is a module of its own (it
// pins the Vault server), and a package cannot embed another module's files.
//
//go:embed vault-policies/*.hcl
var VaultPolicies embed.FS

// ExampleConfig is a complete configuration of `escrowd serve`, with comments.
//
//go:embed escrowd.toml
var ExampleConfig string

// Cluster is what each machine of a cluster has: deploy/README.md, "From one machine to a
// cluster". The tests apply these files with other addresses in the place of theirs.
//
//go:embed cluster
var Cluster embed.FS
