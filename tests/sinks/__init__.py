"""Uses of a secret without showing it: real streams, real services on loopback, real programs, real files."""
