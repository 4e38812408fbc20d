"""Grid Engine 8.1 and Open Cluster Scheduler: `qsub -l qpu=NAME` from the queue to the result.

What happens to a job, in order: the submission verifier (`verifier`) turns the device's name into consumables; the
scheduler starts the job once they are there and the device is ready; the prolog (`hooks`) acquires, the epilog
releases; the agent pushes readiness and reconciles leases, since any hook may be lost.
"""
