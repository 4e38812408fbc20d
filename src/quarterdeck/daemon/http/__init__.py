"""HTTP: `/v1` on a Unix socket with peer credentials and on TCP with a token."""
