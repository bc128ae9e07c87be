"""What every page of one file needs: its parts, its data and its policy."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Template


def resource(name: str) -> str:
    """Read a file that lies beside this module."""
    return resources.files("tonotopy.reporting").joinpath(name).read_text(encoding="utf-8")


def template(name: str) -> Template:
    """Give a template that escapes what it fills in and refuses what is not given."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def script_texts(*names: str) -> list[str]:
    """Give plotly and the scripts of a page, in the order of their use."""
    from plotly.offline import get_plotlyjs

    return [get_plotlyjs(), *(resource(name) for name in names)]


def json_data(value: object) -> Markup:
    """Write data for a script element."""
    # "<" would let a label end the script element or open a comment in it.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def policy(scripts: Sequence[str]) -> str:
    """Forbid the page everything but itself: no network, and only the scripts written here."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in scripts]
    allowed = " ".join(f"'sha256-{digest.decode('ascii')}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; media-src data: blob:; base-uri 'none'; form-action 'none'"
    )
