"""The pure room, held to its rules."""
