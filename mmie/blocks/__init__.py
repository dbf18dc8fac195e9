"""Building blocks of the methods: modules and functions that take and return tensors."""
