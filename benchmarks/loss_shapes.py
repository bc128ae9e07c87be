"""Pictures of the shape that each loss gives an embedding, from real training runs.

    python benchmarks/loss_shapes.py [--out docs/shapes] [--clips 8] [--epochs 60]

For every loss a small network learns to embed the synthetic corpus (families > instruments > ways
of playing) on a sphere of three dimensions. Each picture is one run, seed 0: a dot is a training
clip, its colour the family, its shade the instrument; faint dots lie on the far side.
"""

from __future__ import annotations

import argparse
import colorsys
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tonotopy._components import build
from tonotopy.audio import FrontEnd, decode
from tonotopy.clips import ClipTable, PKBatchSampler, scan
from tonotopy.datasets import make_corpus
from tonotopy.encoders import ConvNet
from tonotopy.geometry import unit_vectors
from tonotopy.labels import LabelTree
from tonotopy.losses import (
    AngularContrastiveLoss,
    AngularDistanceDistributionLoss,
    ArcFaceLoss,
    GeneralizedTripletLoss,
    Loss,
    NTXentLoss,
    RankBasedLoss,
    SubclusterAdaCosLoss,
    TreeDistanceDistributionLoss,
)
from tonotopy.training import FitConfig

SIZE, RADIUS = 300, 138
TILT = math.radians(25)
VIEWS = 32
"""Clips in a batch of two views each, for losses that know nothing but the clip."""


def shapes(families: int, tree: LabelTree) -> dict[str, tuple[Loss, str]]:
    """Make every loss, and say whether its labels are families, codes or views."""
    return {
        "add": (AngularDistanceDistributionLoss(), "families"),
        "arcface": (ArcFaceLoss(families, 3, scale=16.0), "families"),
        "subcluster-adacos": (SubclusterAdaCosLoss(families, 3, subclusters=4), "families"),
        "tree-add": (TreeDistanceDistributionLoss(), "codes"),
        "triplet": (GeneralizedTripletLoss("auto", tree=tree), "codes"),
        "rank": (RankBasedLoss(), "codes"),
        "nt-xent": (NTXentLoss(), "views"),
        "acl": (AngularContrastiveLoss(projection=nn.Linear(3, 3)), "views"),
    }


def load_features(folder: Path, clips: int) -> tuple[ClipTable, Tensor]:
    """Synthesise the corpus; give its table and features (N, bins, frames)."""
    table = scan(make_corpus(folder, clips_per_leaf=clips))
    front_end = build(FitConfig(data=folder).front_end, FrontEnd, "tonotopy.audio")
    waves = torch.stack([torch.tensor(decode(path, 16000)) for path in table.paths])
    with torch.inference_mode():
        features = torch.cat([front_end(part)[0] for part in torch.split(waves, 64)])
    return table, features.clone()


def train(loss: Loss, kind: str, table: ClipTable, features: Tensor, epochs: int) -> Tensor:
    """Train a network of three outputs, and give the unit vectors of all clips."""
    torch.manual_seed(0)
    codes = table.tree.encode(table.labels)
    families = torch.unique(codes[:, 0], return_inverse=True)[1]
    network = ConvNet(features.shape[1], embedding_dim=3, dropout=0.0)
    optimiser = torch.optim.AdamW([*network.parameters(), *loss.parameters()], lr=2e-3)
    leaves = table.tree.leaf_index(table.labels).tolist()
    sampler = PKBatchSampler(leaves, classes_per_batch=16, clips_per_class=4)
    generator = torch.Generator().manual_seed(0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for batch in sampler:
            rows = torch.tensor(batch)
            x, labels = features[rows], (codes if kind == "codes" else families)[rows]
            if kind == "views":
                rows = torch.randperm(len(features), generator=generator)[:VIEWS]
                x = torch.cat([view(features[rows], generator) for _ in range(2)])
                labels = torch.arange(VIEWS).repeat(2)
            value = loss(network(x, torch.full((len(x),), x.shape[2])), labels)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        schedule.step()
    network.eval()
    with torch.inference_mode():
        lengths = torch.full((len(features),), features.shape[2])
        return unit_vectors(network(features, lengths))


def view(x: Tensor, generator: torch.Generator) -> Tensor:
    """Make a view: shifted in time, another level, and a band of frequencies hidden."""
    shift = int(torch.randint(0, x.shape[2], (), generator=generator))
    x = x.roll(shift, dims=2) + torch.randn(len(x), 1, 1, generator=generator)
    start = int(torch.randint(0, x.shape[1] - 8, (), generator=generator))
    x[:, start : start + 8] = x.mean()
    return x


def draw(points: Tensor, table: ClipTable) -> str:
    """Draw unit vectors (N, 3) on a sphere that is seen from the front."""
    colour = colours(table)
    turn = torch.tensor(
        [
            [1.0, 0.0, 0.0],
            [0.0, math.cos(TILT), -math.sin(TILT)],
            [0.0, math.sin(TILT), math.cos(TILT)],
        ]
    )
    seen = points @ turn.T
    middle = SIZE / 2
    dots = []
    for row in seen[:, 2].argsort().tolist():
        x, y, z = seen[row].tolist()
        opacity = 0.85 if z >= 0 else 0.25
        dots.append(
            f'<circle cx="{middle + RADIUS * x:.1f}" cy="{middle - RADIUS * y:.1f}" r="3.2" '
            f'fill="{colour(row)}" fill-opacity="{opacity}"/>'
        )
    equator = RADIUS * math.sin(TILT)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}">',
            f'<circle cx="{middle}" cy="{middle}" r="{RADIUS}" fill="#88888811" stroke="#888"/>',
            f'<ellipse cx="{middle}" cy="{middle}" rx="{RADIUS}" ry="{equator:.1f}" fill="none" '
            'stroke="#888" stroke-opacity="0.4"/>',
            *dots,
            "</svg>\n",
        ]
    )


def colours(table: ClipTable) -> Callable[[int], str]:
    """Give a colour of each clip: the hue of its family, the shade of its instrument."""
    tree = table.tree
    families = tree.children(-1)

    def colour(row: int) -> str:
        family = tree.node(table.labels[row][:1])
        instruments = tree.children(family)
        place = instruments.index(tree.node(table.labels[row][:2])) / max(len(instruments) - 1, 1)
        hue = families.index(family) / len(families)
        red, green, blue = colorsys.hls_to_rgb(hue, 0.35 + 0.3 * place, 0.75)
        return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"

    return colour


def main() -> None:
    """Train and draw all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/shapes"), help="For the pictures.")
    parser.add_argument("--clips", type=int, default=8, help="Clips of each way of playing.")
    parser.add_argument("--epochs", type=int, default=60, help="Epochs of each run.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        table, features = load_features(Path(folder), options.clips)
    families = len(table.tree.children(-1))
    for name, (loss, kind) in shapes(families, table.tree).items():
        points = train(loss, kind, table, features, options.epochs)
        (options.out / f"{name}.svg").write_text(draw(points, table), encoding="utf-8")
        print(name, flush=True)


if __name__ == "__main__":
    main()
