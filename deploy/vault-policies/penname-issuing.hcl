# The issuing side of Penname encrypts and authenticates. It cannot open
# anything, and cannot change, export or make a key.
#
# escrowd reads back what these lines amount to at every start
# (escrow/vault, Verify) and refuses to run with one right more or less.

# "update" without "create": a mistyped key name is an error, not a new key.
# batch_input alone is allowed, so no caller can choose a key version.
path "penname-transit/encrypt/penname-record" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [] }
  required_parameters = ["batch_input"]
}

# The keys of groups are in a mount of their own: + is one of them, and nothing below it.
path "penname-groups/encrypt/+" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [] }
  required_parameters = ["batch_input"]
}

path "penname-transit/encrypt/penname-link" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [] }
  required_parameters = ["batch_input"]
}

# Version 1 and no other: a new version would give everybody another pen name
# and let the same person enrol a second time.
path "penname-transit/hmac/penname-fingerprint" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [], "key_version" = ["1"] }
  required_parameters = ["batch_input", "key_version"]
}

path "penname-transit/hmac/penname-pseudonym" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [], "key_version" = ["1"] }
  required_parameters = ["batch_input", "key_version"]
}

# The flags of the keys, never the keys: checked at every start, those of a group at its first use.
path "penname-transit/keys/penname-record" { capabilities = ["read"] }
path "penname-groups/keys/+" { capabilities = ["read"] }
path "penname-transit/keys/penname-link" { capabilities = ["read"] }
path "penname-transit/keys/penname-fingerprint" { capabilities = ["read"] }
path "penname-transit/keys/penname-pseudonym" { capabilities = ["read"] }

# When its secret id ends: of one that it knows already.
path "auth/approle/role/penname-issuing/secret-id/lookup" {
  capabilities        = ["update"]
  allowed_parameters  = { "secret_id" = [] }
  required_parameters = ["secret_id"]
}

# Its own token and its own rights, in place of the policy "default".
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }
