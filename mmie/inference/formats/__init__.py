"""File formats of extraction results."""
