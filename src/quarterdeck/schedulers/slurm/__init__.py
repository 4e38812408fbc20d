"""Slurm: a SPANK plugin, a job_submit function, two hooks of slurmctld, an agent, and what installs them."""
