"""Tests of the network room against hostile services."""
