"""A malicious service, lie by lie: each is refused for its own reason, and leaves no trace."""
