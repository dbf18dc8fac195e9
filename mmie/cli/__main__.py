"""Run the `mmie` command as `python -m mmie.cli`."""

from mmie.cli.main import program

program()
