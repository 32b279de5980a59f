"""Tests of the emulator: a real store, a real app, real keys; nothing is mocked."""
