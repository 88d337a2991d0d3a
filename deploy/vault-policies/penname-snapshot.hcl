# What takes the daily snapshot of Vault (escrowd vault snapshot): all that Vault
# stores, encrypted under its unseal keys, and which versions of the record keys those are.

path "sys/storage/raft/snapshot" { capabilities = ["read"] }
path "penname-transit/keys/penname-record" { capabilities = ["read"] }
path "penname-groups/keys/+" { capabilities = ["read"] }

# Its own token, which each snapshot renews.
path "auth/token/renew-self" { capabilities = ["update"] }
