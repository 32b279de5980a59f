"""The network room: bytes out, bounded bytes in. It has no opinion about what they mean."""
