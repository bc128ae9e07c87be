"""Figures and tables of docs/anomaly-theory.md: what angular margin losses do, by experiment.

    python -m benchmarks.anomaly_theory [--page docs/anomaly-theory.md]

Run it from the root of the repository. The figures go into the folder named like the page, the
tables between the comments of the page that name them. It takes a minute on one core.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from benchmarks.theory import constant_maps, free_embeddings, one_class, scale_rules
from benchmarks.theory.charts import Axis, Points, Row, line_chart, number, table
from benchmarks.theory.free_embeddings import CASES, Step
from torch import Tensor

from tonotopy.losses import (
    AdaCosLoss,
    ArcFaceLoss,
    CosFaceLoss,
    Loss,
    OneClassCompactnessLoss,
    SubclusterAdaCosLoss,
)
from tonotopy.losses._adaptive_scale import HIGHEST, fixed_scale
from tonotopy.metrics import effective_rank, mean_pairwise_cosine

LONG = 4000
STEPS_AXIS = Axis("steps of gradient descent", log=True)
Figures = dict[str, str]
Tables = dict[str, str]


def compactness() -> tuple[Figures, Tables]:
    """Draw how loss and compactness fall together, and what is left within classes."""
    runs = {name: free_embeddings.descend(case, LONG) for name, case in CASES.items()}
    shown = {name: run for name, run in runs.items() if "C = 10," in name}

    def curves(what: Callable[[Step], float]) -> dict[str, Points]:
        return {name: _by_step([what(s) for s in run]) for name, run in shown.items()}

    figures = {
        "loss": line_chart(
            "The margin loss (s = 8, m = 0)",
            STEPS_AXIS,
            Axis("mean loss (nats)", log=True),
            curves(lambda s: s.loss),
        ),
        "compactness": line_chart(
            "Compactness, which nobody minimised",
            STEPS_AXIS,
            Axis("mean squared chord to own centre (0 to 4)", log=True),
            curves(lambda s: s.compactness),
        ),
        "spread": line_chart(
            "What is left within a class",
            STEPS_AXIS,
            Axis("squared chord of two clips of a class"),
            curves(lambda s: s.spread),
        ),
        "pull": line_chart(
            "How strongly a clip is drawn to its class",
            STEPS_AXIS,
            Axis("mean of 1 − p of the own class", log=True),
            curves(lambda s: s.pull)
            | {"compactness alone: always 1": [(1.0, 1.0), (float(LONG), 1.0)]},
        ),
    }
    head = ["centres", "loss, nats", "squared chord to own centre", "spread", "after 4000 steps"]
    rows: list[Row] = [[name, *_fall(run), number(run[-1].spread)] for name, run in runs.items()]
    return figures, {"free-embeddings": table(head, rows)}


def _fall(run: Sequence[Step]) -> list[str]:
    first, last = run[0], run[free_embeddings.STEPS]
    return [
        f"{number(first.loss)} → {number(last.loss)}",
        f"{number(first.compactness)} → {number(last.compactness)}",
        f"{number(first.spread)} → {number(last.spread)}",
    ]


def tilt() -> tuple[Figures, Tables]:
    """Draw how far from its centre a class comes to rest."""
    scales = [2.0**power for power in torch.linspace(0, 5, 21).tolist()]
    centres = {
        "10 random centres, D = 64": free_embeddings.random_centres(10),
        "100 random centres, D = 64": free_embeddings.random_centres(100),
        "simplex of 10 centres": free_embeddings.simplex(10),
        "2 opposite centres": free_embeddings.simplex(2),
    }
    lines = {
        name: [(s, free_embeddings.tilt_degrees(w, s)) for s in scales]
        for name, w in centres.items()
    }
    chart = line_chart(
        "Where the loss is least: tilt of a class against its centre",
        Axis("scale s (logit of cosine 1)", log=True),
        Axis("tilt (degrees)"),
        lines,
    )
    return {"tilt": chart}, {}


def constants() -> tuple[Figures, Tables]:
    """Draw what a constant costs, whether training leaves it, and what imbalance changes."""
    classes = [2, 3, 5, 10, 20, 50, 100, 167]
    lines: dict[str, Points] = {}
    for margin, scale in ((0.0, 8.0), (0.35, 8.0)):
        name = f"m = {margin:g}"
        searched = [(c, constant_maps.best_constant(_even(c), scale, margin)) for c in classes]
        lines[f"bound, {name}"] = [(c, constant_maps.bound(c, scale * margin)) for c in classes]
        lines[f"best constant found, {name}"] = searched
        lines[f"separated classes, {name}"] = [
            (c, constant_maps.separated(c, scale, margin)) for c in classes
        ]
    bounds = line_chart(
        "What a constant network costs (s = 8)",
        Axis("number of classes C", log=True),
        Axis("mean loss (nats)", log=True),
        lines,
    )
    return {"constant": bounds, "escape": _escapes()}, {"imbalance": _imbalance()}


def _even(classes: int) -> Tensor:
    return torch.full((classes,), 1.0 / classes, dtype=torch.float64)


def escaping_losses() -> dict[str, Callable[[], Loss]]:
    """Give the losses that the constant network is trained with, for 4 classes."""
    return {
        "AdaCos": lambda: AdaCosLoss(4, 8),
        "CosFace, s = 8": lambda: CosFaceLoss(4, 8, scale=8.0),
        "ArcFace, s = 8": lambda: ArcFaceLoss(4, 8, scale=8.0),
        "sub-cluster AdaCos": lambda: SubclusterAdaCosLoss(4, 8, 4, trainable_centres=False),
    }


def _escapes() -> str:
    lines = {}
    for name, loss in escaping_losses().items():
        lines[name] = _by_step(constant_maps.escape(loss(), "last layer").cosines)
    alone = constant_maps.escape(OneClassCompactnessLoss(around="mean"), "last layer")
    lines["compactness alone"] = _by_step(alone.cosines)
    stuck = constant_maps.escape(AdaCosLoss(4, 8), "all layers")
    lines["AdaCos, every layer zero"] = _by_step(stuck.cosines)
    return line_chart(
        "Training a network that starts constant",
        Axis("steps of Adam", log=True),
        Axis("mean cosine of pairs (1 = constant)"),
        lines,
    )


def _imbalance() -> str:
    rows: list[Row] = []
    for share in (0.5, 0.9, 0.99, 0.999):
        shares = torch.tensor([share, 1.0 - share], dtype=torch.float64)
        least = constant_maps.best_constant(shares, 8.0, steps=2000)
        best = constant_maps.separated(2, 8.0)
        rows.append([f"{share:g}", constant_maps.prior_entropy(shares), least, best])
    head = ["share of the larger class", "prior entropy", "best constant found", "separated"]
    return table(head, rows)


def collapse() -> tuple[Figures, Tables]:
    """Train one-class losses with each cause of collapse and each guard."""
    svdd = one_class.svdd_runs()
    head = ["network", "loss / ‖c‖²", "length", "spread", "unseen", "rank", "cosine"]
    rows: list[Row] = [
        [name, o.loss, o.length, o.spread, o.unseen, o.rank, f"{o.cosine:.4f}"]
        for name, o in svdd.items()
    ]
    tables = {"deep-svdd": table(head, rows)}
    seeds = [one_class.direction_runs(seed) for seed in range(3)]
    head = ["compactness of directions", "rank", "mean cosine"]
    rows = [
        [name, *_range(sorted(o[name].rank for o in seeds), sorted(o[name].cosine for o in seeds))]
        for name in seeds[0]
    ]
    tables["directions"] = table(head, rows)
    return _monitor(), tables


def _range(*values: list[float]) -> list[str]:
    return [f"{low[0]:.2f} to {low[-1]:.2f}" for low in values]


def _monitor() -> Figures:
    settings: dict[str, tuple[bool | None, Callable[[], Loss]]] = {
        "compactness alone": (None, one_class.OneCentre),
        "BatchNorm before the last layer": (False, one_class.OneCentre),
        "uniformity beside it": (None, one_class.SpreadCompactness),
        "a margin loss instead": (None, lambda: AdaCosLoss(4, 8)),
    }
    ranks: dict[str, Points] = {}
    cosines: dict[str, Points] = {}
    for name, (last_norm, loss) in settings.items():
        seen: list[Tensor] = []
        torch.manual_seed(0)
        one_class.train(one_class.Network(last_norm=last_norm), loss(), seen=seen.append)
        ranks[name] = _by_step([effective_rank(z) for z in seen])
        cosines[name] = _by_step([mean_pairwise_cosine(z) for z in seen])
    x = Axis("steps of Adam", log=True)
    return {
        "rank": line_chart("Effective rank", x, Axis("dimensions, of 8"), ranks),
        "cosine": line_chart("Mean cosine of pairs", x, Axis("cosine (1 = one way)"), cosines),
    }


def scales() -> tuple[Figures, Tables]:
    """Draw the scale that each rule gives, with and without mixup."""
    lines = {
        f"{name}, {'mixup' if mixup else 'no mixup'}": _by_step(scale_rules.train_with(rule, mixup))
        for name, rule in scale_rules.RULES.items()
        for mixup in (False, True)
    }
    most = HIGHEST * fixed_scale(40)
    lines["bound of the library, 4 times the first"] = [(1.0, most), (300.0, most)]
    chart = line_chart(
        "The scale while a network learns, without bounds",
        Axis("steps of Adam", log=True),
        Axis("scale s", log=True),
        lines,
    )
    traces = {name: scale_rules.repeat_rule(rule) for name, rule in scale_rules.RULES.items()}
    head = ["updates", *(str(k) for k in range(7))]
    return {"scale": chart}, {
        "runaway": table(head, [[name, *trace] for name, trace in traces.items()])
    }


def _by_step(values: Sequence[float]) -> Points:
    """Number the values from 1, and keep as many as a logarithmic axis can show."""
    kept = sorted({round(10 ** (k / 60)) for k in range(math.ceil(60 * math.log10(len(values))))})
    return [(float(k), values[k - 1]) for k in [*kept, len(values)] if k <= len(values)]


def fill(page: str, tables: Tables) -> str:
    """Put tables between `<!-- name -->` and `<!-- end -->`.

    Raises:
        ValueError: The page has no place for a table.
    """
    for name, text in tables.items():
        place = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        parts = place.split(page)
        found = len(parts) // 3
        if found != 1:
            raise ValueError(f"the page must have '<!-- {name} -->' once, got {found}")
        before, start, end, after = parts
        page = f"{before}{start}\n{text}\n\n{end}{after}"
    return page


def main() -> None:
    """Make all figures and tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=Path("docs/anomaly-theory.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for fact in (compactness, tilt, constants, collapse, scales):
        figures, tables = fact()
        for name, figure in figures.items():
            (folder / f"{name}.svg").write_text(figure, encoding="utf-8")
        page = fill(options.page.read_text(encoding="utf-8"), tables)
        options.page.write_text(page, encoding="utf-8")
        print(fact.__name__, *tables.values(), sep="\n", flush=True)


if __name__ == "__main__":
    main()
