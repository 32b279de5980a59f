"""Ways to use a secret without showing it, and the spellings in which one can slip out."""
