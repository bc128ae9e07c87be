"""The command line: thin verbs that parse, call and print."""

from tonotopy.cli._app import main

__all__ = ["main"]
