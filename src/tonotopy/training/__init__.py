"""Training: a configuration becomes a run folder; interrupted runs go on where they stopped."""

from typing import TYPE_CHECKING, Any

from tonotopy.training.config import (
    FitConfig,
    OptimiserOptions,
    SplitOptions,
    register_component_type,
)

if TYPE_CHECKING:
    from tonotopy.training._run import fit, resume
    from tonotopy.training.collectives import global_loss

__all__ = [
    "FitConfig",
    "OptimiserOptions",
    "SplitOptions",
    "fit",
    "global_loss",
    "register_component_type",
    "resume",
]


def __getattr__(name: str) -> Any:
    # Lightning takes seconds to import; `--help` and the configuration do not need it.
    if name in {"fit", "resume"}:
        from tonotopy.training import _run

        return getattr(_run, name)
    if name == "global_loss":
        from tonotopy.training.collectives import global_loss

        return global_loss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
