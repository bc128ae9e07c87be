"""`tonotopy reproduce`: the experiments of the papers, each with options of its own."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from tonotopy._errors import UsageError
from tonotopy.cli._output import Output
from tonotopy.cli._parse import call

EXPERIMENTS = {
    "acl": "angular contrastive loss without labels, and with them, on FSDnoisy18k",
    "add": "angular distance distribution loss on ESC-50",
    "asd": "anomalous sounds of machines, DCASE Task 2 of 2020 to 2024",
    "fan-features": "angular margin losses that find anomalies of fans, on features of clips",
    "hybrid": "hybrid losses over a label tree, with classes never seen and labels missing",
    "noisy-labels": "losses on angles where training labels are wrong",
    "plant": "anomaly detectors on a synthetic plant: false alarms, and faults by severity",
    "pretraining": "learning without labels: contrastive losses, probed on a fold none has heard",
    "rbl": "rank-based loss on clips with labels of two levels",
}
"""Name to what it is about; `_reproduce_NAME.py` holds its function `reproduce_NAME`, with
underscores for hyphens."""

USAGE = """\
usage: tonotopy reproduce EXPERIMENT --data DIR ... [--json]

Run the experiment of a paper; finished trials are not repeated.

{experiments}

tonotopy reproduce EXPERIMENT --help    explains an experiment and all its options
"""


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    if arguments and arguments[0] in {"-h", "--help"}:
        lines = "\n".join(f"  {name:<13} {about}" for name, about in EXPERIMENTS.items())
        print(USAGE.format(experiments=lines))
        raise SystemExit(0)
    known = ", ".join(EXPERIMENTS)
    if not arguments or arguments[0].startswith("-"):
        raise UsageError(f"name the experiment right after `reproduce`; there are: {known}")
    name, *rest = arguments
    if name not in EXPERIMENTS:
        raise UsageError(f"no experiment {name!r}; there are: {known}")
    function = f"reproduce_{name.replace('-', '_')}"
    module = importlib.import_module(f"tonotopy.cli._{function}")
    output: Output = call(f"reproduce {name}", getattr(module, function), rest)
    return output
