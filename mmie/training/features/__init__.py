"""Feature cache and the callback that fills it."""
