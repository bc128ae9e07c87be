"""Find the verb, run it, turn errors into messages and exit codes."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from tonotopy._errors import TonotopyError
from tonotopy._files import finite
from tonotopy.cli._output import Output

VERBS = {
    "scan": "list the clips of a folder, table or data set, with their labels and what is wrong",
    "fit": "train a model on labelled clips; go on with an interrupted run",
    "evaluate": "measure a run: classification, retrieval, structure of the embedding",
    "probe": "measure how well classes can be read off a frozen model's embeddings",
    "sweep": "train without labels for many alphas and temperatures, and draw what they do",
    "predict": "say what recordings are, at every level of the label tree, and how sure that is",
    "embed": "turn audio into embeddings with a trained model",
    "search": "find the clips that sound most like a recording",
    "detect": "find anomalous sounds in recordings of machines, or in a live stream",
    "explain": "show which parts of a recording make it anomalous, with pictures and sound",
    "normals": "say what is normal now, without training; undo it",
    "calibrate": "change how an anomaly detector scores and when it alarms, without training",
    "drift": "say whether machines still sound as they did when the detector was calibrated",
    "report": "write a run's report, one HTML file",
    "datasets": "list, describe and fetch public data sets",
    "reproduce": "run the experiments of the papers",
    "demo": "do all of it once, on synthetic sounds or on a folder of yours",
}

USAGE = """\
usage: tonotopy VERB ...

Learn embeddings of audio whose angles mean what you know about your sounds.

{verbs}

tonotopy VERB --help    explains a verb and all its options
tonotopy --version      prints the version

Start with:  tonotopy fit FOLDER      (sub-folders are the labels)
             tonotopy demo            (no data needed)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments after the program's name; those of the process when None.

    Returns:
        0 done, 1 failed on data, 2 wrong use.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        lines = "\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())
        print(USAGE.format(verbs=lines))
        return 0 if arguments else 2
    if arguments[0] in {"-V", "--version"}:
        print(f"tonotopy {version('tonotopy')}")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"error: no verb {verb!r}; there are: {', '.join(VERBS)}", file=sys.stderr)
        return 2
    return _run(verb, rest)


def _run(verb: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"tonotopy.cli.{verb}")
    as_json = "--json" in arguments
    try:
        output: Output = module.run([a for a in arguments if a != "--json"])
        _print(output, as_json)
    except TonotopyError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on where it stopped", 1)
    except BrokenPipeError:
        # The reader (`head`, a pager) has gone; the interpreter must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'the disk'}: {error.strerror or error}", 1)
    return 0


def _print(output: Output, as_json: bool) -> None:
    if as_json:
        print(json.dumps(finite(output.data), ensure_ascii=False))
        return

    from rich.console import Console

    console = Console()
    output.show(console)
    console.print(output.summary, markup=False, highlight=False, soft_wrap=True)


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
