"""The run folder as a file format."""
