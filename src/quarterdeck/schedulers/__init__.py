"""What is installed on the side of the workload manager. It speaks HTTP to the daemon and knows nothing else of it."""
