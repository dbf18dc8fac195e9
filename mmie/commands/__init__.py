"""What the ``mmie`` command does, a function a command; `mmie.cli` imports the one that is run."""
