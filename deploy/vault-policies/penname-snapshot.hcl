# What takes the weekly snapshot of Vault (escrowd vault snapshot): all that Vault
# stores, encrypted under its unseal keys, and which version of the record key that is.

path "sys/storage/raft/snapshot" { capabilities = ["read"] }
path "penname-transit/keys/penname-record" { capabilities = ["read"] }

# Its own token, which each snapshot renews.
path "auth/token/renew-self" { capabilities = ["update"] }
