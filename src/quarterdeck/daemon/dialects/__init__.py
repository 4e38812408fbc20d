"""Other systems' interfaces as thin adapters onto the desk, so that their unmodified clients share one queue."""
