"""Tests: they mirror the package and go through the doors that users use."""
