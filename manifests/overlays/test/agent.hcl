disable_mlock = true

cache {}

listener "unix" {
  address     = "/var/run/vault/agent.sock"
  tls_disable = true
}
