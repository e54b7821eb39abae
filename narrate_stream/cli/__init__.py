"""The command line. Nothing heavy is imported before a command really needs it."""

from narrate_stream.cli.app import main

__all__ = ["main"]
