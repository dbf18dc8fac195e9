"""Building blocks: modules that take and give tensors."""
