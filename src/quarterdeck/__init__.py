"""Quantum processors as resources that an HPC centre can schedule, share, calibrate, secure and measure."""

__version__ = "0.1.0"
