"""Nothing that dies half way loses a key, an item or a vault."""
