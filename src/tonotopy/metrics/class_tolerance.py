"""How alike the clips of one class stay: the tolerance of an embedding to semantic similarity.

Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.metrics._validation import labelled_rows, to_units

ToleranceForm = Literal["conditional", "literal"]
"""Mean cosine of the pairs of one class; or, literally as printed, mean over all pairs of the
cosine times an indicator of one class."""


@torch.no_grad()
def tolerance(embeddings: Tensor, labels: Tensor, form: ToleranceForm = "conditional") -> float:
    """Give the tolerance: the mean cosine of different clips of one class, in O(N D) time.

    Formula, over ordered pairs i != j of labelled clips, s_ij their cosine:

        conditional   sum_ij s_ij 1[l_i = l_j] / sum_ij 1[l_i = l_j]
        literal       sum_ij s_ij 1[l_i = l_j] / (N (N - 1))

    The paper prints the literal form; published figures are the conditional one, which does not
    shrink with the number of classes. Large classes weigh by their pairs. To count the two views
    of a clip as a pair, give both, one below the other.

    High is not good by itself: embeddings that are all equal reach 1. Judge it beside uniformity.

    Args:
        embeddings: (N, D) floats, not necessarily normalised. A zero vector has cosine 0 with
            everything.
        labels: (N,) class ids; negative = unknown: left out.
        form: Default `"conditional"`.

    Returns:
        -1 to 1; NaN where there is no pair to average: none of one class for the conditional form,
        fewer than two labelled clips for the literal one.

    Raises:
        UsageError: Shapes do not fit, or there is no such form.
        DataError: A labelled embedding is not finite.

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> tolerance(x, torch.tensor([0, 0, 1])), tolerance(x, torch.tensor([0, 0, 1]), "literal")
        (1.0, 0.3333333333333333)
    """
    if form not in ("conditional", "literal"):
        raise UsageError(f"form must be 'conditional' or 'literal', got {form!r}")
    embeddings, labels = labelled_rows(embeddings, labels)
    units = to_units(embeddings)
    classes, member, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    sums = units.new_zeros(len(classes), units.shape[1]).index_add_(0, member, units)
    # ||sum of a class||² holds every pair of the class twice, and every clip with itself.
    cosines = sums.square().sum() - units.square().sum()
    same = (sizes * (sizes - 1)).sum().item()
    pairs = same if form == "conditional" else len(units) * (len(units) - 1)
    if not pairs:
        return math.nan
    return cosines.item() / pairs if same else 0.0
