"""Real workload managers for tests: private, on this host, without systemd, all in one directory each."""
