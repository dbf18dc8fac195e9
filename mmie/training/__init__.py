"""What makes a fit fast, resumable and visible."""
