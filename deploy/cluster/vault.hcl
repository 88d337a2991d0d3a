# Vault on each of vault-1, vault-2 and vault-3. deploy/README.md, "From one machine to a
# cluster", says how NODE@ and ADDRESS@ become this machine's.
storage "raft" {
  path                   = "/opt/vault/data"
  node_id                = "NODE@"
  performance_multiplier = 1
  retry_join {
    leader_api_addr     = "https://10.0.0.21:8200"
    leader_ca_cert_file = "/etc/penname/ca.pem"
  }
  retry_join {
    leader_api_addr     = "https://10.0.0.22:8200"
    leader_ca_cert_file = "/etc/penname/ca.pem"
  }
  retry_join {
    leader_api_addr     = "https://10.0.0.23:8200"
    leader_ca_cert_file = "/etc/penname/ca.pem"
  }
}
listener "tcp" {
  address         = "ADDRESS@:8200"
  cluster_address = "ADDRESS@:8201"
  tls_cert_file   = "/etc/penname/cluster.crt"
  tls_key_file    = "/etc/vault.d/cluster.key"
}
api_addr      = "https://ADDRESS@:8200"
cluster_addr  = "https://ADDRESS@:8201"
disable_mlock = true
log_level     = "warn"
