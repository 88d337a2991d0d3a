# The disclosing side of Penname opens. It cannot encrypt, cannot compute a
# pen name or a fingerprint, and cannot change, export or make a key.
#
# escrowd reads back what these lines amount to at every start
# (escrow/vault, Verify) and refuses to run with one right more or less.

path "penname-transit/decrypt/penname-record" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [] }
  required_parameters = ["batch_input"]
}

# The keys of groups are in a mount of their own: + is one of them, and nothing below it.
path "penname-groups/decrypt/+" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [] }
  required_parameters = ["batch_input"]
}

path "penname-transit/decrypt/penname-link" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [] }
  required_parameters = ["batch_input"]
}

# The flags of the keys, never the keys: checked at every start, those of a group at its first use.
path "penname-transit/keys/penname-record" { capabilities = ["read"] }
path "penname-groups/keys/+" { capabilities = ["read"] }
path "penname-transit/keys/penname-link" { capabilities = ["read"] }

# When its secret id ends: of one that it knows already.
path "auth/approle/role/penname-disclosing/secret-id/lookup" {
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
