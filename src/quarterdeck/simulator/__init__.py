"""The simulator: the daemon's own core, run under virtual time."""
