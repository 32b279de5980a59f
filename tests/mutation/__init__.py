"""Takes one defence out at a time and asks whether a test notices."""
