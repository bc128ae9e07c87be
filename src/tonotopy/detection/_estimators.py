"""Fit estimators of scikit-learn so that they give the same result on any number of cores."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

SEED = 0
"""Of the estimators that start at random."""


@contextmanager
def repeatable() -> Iterator[None]:
    """Use one thread, and keep warnings about degenerate references to ourselves.

    Several threads add up partial sums in whichever order they finish, so the last digits would
    differ from run to run. Duplicates and single references are expected here and have defined
    scores.
    """
    from sklearn.exceptions import ConvergenceWarning

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Duplicate values", UserWarning)
        warnings.filterwarnings("ignore", "Only one sample available", UserWarning)
        yield
