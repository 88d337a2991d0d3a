# The keeping side of Penname makes the record keys of groups and new versions of
# them, moves what is wrapped to these, and destroys the versions before. It cannot
# encrypt, decrypt or compute anything, and reads no key. Whoever holds it can destroy every
# record, and read none.
#
# escrowd reads back what these lines amount to at every start
# (escrow/vault, Verify) and refuses to run with one right more or less.

path "penname-transit/rewrap/penname-record" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [] }
  required_parameters = ["batch_input"]
}

path "penname-transit/keys/penname-record/rotate" {
  capabilities      = ["update"]
  denied_parameters = { "*" = [] }
}

# These two, and no other flag: not exportable, not deletion_allowed.
path "penname-transit/keys/penname-record/config" {
  capabilities        = ["update"]
  allowed_parameters  = { "min_decryption_version" = [], "min_encryption_version" = [] }
  required_parameters = ["min_decryption_version", "min_encryption_version"]
}

path "penname-transit/keys/penname-record/trim" {
  capabilities        = ["update"]
  allowed_parameters  = { "min_available_version" = [] }
  required_parameters = ["min_available_version"]
}

# The keys of groups are in a mount of their own: + is one of them, and nothing below
# it. It makes them as they must be, and in no other way; the flags may be read.
path "penname-groups/keys/+" {
  capabilities = ["read", "update"]
  allowed_parameters = {
    "type"                   = ["aes256-gcm96"]
    "derived"                = ["true"]
    "exportable"             = ["false"]
    "allow_plaintext_backup" = ["false"]
  }
  required_parameters = ["type", "derived", "exportable", "allow_plaintext_backup"]
}

path "penname-groups/rewrap/+" {
  capabilities        = ["update"]
  allowed_parameters  = { "batch_input" = [] }
  required_parameters = ["batch_input"]
}

path "penname-groups/keys/+/rotate" {
  capabilities      = ["update"]
  denied_parameters = { "*" = [] }
}

path "penname-groups/keys/+/config" {
  capabilities        = ["update"]
  allowed_parameters  = { "min_decryption_version" = [], "min_encryption_version" = [] }
  required_parameters = ["min_decryption_version", "min_encryption_version"]
}

path "penname-groups/keys/+/trim" {
  capabilities        = ["update"]
  allowed_parameters  = { "min_available_version" = [] }
  required_parameters = ["min_available_version"]
}

# The flags of the key, never the key: checked at every start.
path "penname-transit/keys/penname-record" { capabilities = ["read"] }

# When its secret id ends: of one that it knows already.
path "auth/approle/role/penname-keeping/secret-id/lookup" {
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
