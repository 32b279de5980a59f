"""Secrets that are used and not shown, through the doors that users use."""
