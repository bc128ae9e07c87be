"""Options of a verb, read from the signature and docstring of a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

R = TypeVar("R")


def make_parser(verb: str, description: str) -> ArgumentParser:
    """Make the parser of a verb, with the options that all verbs share."""
    from argparse import RawDescriptionHelpFormatter

    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
        """Keep the line breaks of examples."""

    parser = ArgumentParser(
        prog=f"tonotopy {verb}", description=description, formatter_class=Formatter
    )
    # `--json` is taken off before parsing; it stands here for the help text.
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    return parser


def call(verb: str, function: Callable[..., R], arguments: Sequence[str]) -> R:
    """Parse `arguments` by a function's signature and call it.

    Parameters without a default are positional; the others are options.
    """
    description = (function.__doc__ or "").split("\n\n", 1)[0]
    parser = make_parser(verb, description)
    parser.add_function_arguments(function, as_positional=True, fail_untyped=True)
    parsed = vars(parser.parse_args(list(arguments)))
    del parsed["json"]
    return function(**parsed)
