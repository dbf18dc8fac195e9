"""What run folders say, side by side."""
