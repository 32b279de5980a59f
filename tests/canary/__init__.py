"""The canary sweep: plaintext leaves through ``read_secret``'s own field and nowhere else."""
