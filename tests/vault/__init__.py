"""Tests of the room that knows order, yesterday and concurrency."""
