"""Object crops for new pictures."""
