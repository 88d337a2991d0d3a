# The renewer of the disclosing side of Penname mints the secret ids by which that
# side and itself log in, and destroys those that they replace. It can do nothing
# else. It chooses nothing of a secret id: how long it lives and from where it
# serves is the role's.
#
# escrowd reads back what these lines amount to whenever it uses this role
# (escrow/vault, Verify) and refuses to run with one right more or less.

path "auth/approle/role/penname-disclosing/secret-id" {
  capabilities      = ["update"]
  denied_parameters = { "*" = [] }
}

path "auth/approle/role/penname-disclosing/secret-id/destroy" {
  capabilities        = ["update"]
  allowed_parameters  = { "secret_id" = [] }
  required_parameters = ["secret_id"]
}

path "auth/approle/role/penname-disclosing-renewer/secret-id" {
  capabilities      = ["update"]
  denied_parameters = { "*" = [] }
}

path "auth/approle/role/penname-disclosing-renewer/secret-id/destroy" {
  capabilities        = ["update"]
  allowed_parameters  = { "secret_id" = [] }
  required_parameters = ["secret_id"]
}

# When its secret id ends: of one that it knows already.
path "auth/approle/role/penname-disclosing-renewer/secret-id/lookup" {
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
