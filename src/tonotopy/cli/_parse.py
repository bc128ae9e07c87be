"""Options of a verb, read from the signature and docstring of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, get_type_hints

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

    Parameters before the star are positional, those behind it are options. The docstring's first
    paragraphs and its `Args` become the help.
    """
    from docstring_parser import parse

    documented = parse(function.__doc__ or "")
    about = [documented.short_description, documented.long_description]
    parser = make_parser(verb, "\n\n".join(text for text in about if text))
    helps = {item.arg_name: item.description for item in documented.params}
    hints = get_type_hints(function)
    positional = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    for parameter in positional:
        optional = parameter.default is not inspect.Parameter.empty
        parser.add_argument(
            parameter.name,
            type=hints[parameter.name],
            help=helps[parameter.name],
            **({"nargs": "?", "default": parameter.default} if optional else {}),
        )
    parser.add_function_arguments(function, skip={parameter.name for parameter in positional})
    parsed = vars(parser.parse_args(list(arguments)))
    del parsed["json"]
    # jsonargparse marks names that are also methods of its namespace, such as `get`.
    return function(**{name.lstrip("\u200b"): value for name, value in parsed.items()})
