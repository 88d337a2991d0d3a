package vault

// CloseIdle closes the connections to Vault that nobody uses at this moment.
// Their buffers hold what was sent last.
func (e *endpoint) CloseIdle() { e.http.CloseIdleConnections() }
