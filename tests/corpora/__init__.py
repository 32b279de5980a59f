"""Public test corpora, read from installed packages, never copied into this repository."""
