"""Product promises as plain functions: what is decided, what is shown, and the last look at what leaves."""
