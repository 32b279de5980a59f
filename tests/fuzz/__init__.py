"""Bytes of every kind for every parser that reads what a service, a model or a disk may have written."""
