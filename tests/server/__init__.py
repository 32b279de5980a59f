"""Tests of the server in both protocol eras."""
