"""The embedded vault: a faithful local R4 machine API, and the operator who runs it."""
