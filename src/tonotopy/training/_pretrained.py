"""Front end and encoder: new by their configuration, or those of a trained model."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from pathlib import Path

from tonotopy._components import Component, build
from tonotopy._errors import UsageError
from tonotopy.audio import FrontEnd, Waveform
from tonotopy.embedder import AudioEmbedder
from tonotopy.encoders import Encoder
from tonotopy.training.config import FitConfig


def build_network(config: FitConfig, seconds: float) -> tuple[FrontEnd, Encoder]:
    """Make front end and encoder, or take them from the model that training starts from.

    Args:
        config: Of the run.
        seconds: Length of what training sees.
    """
    if config.pretrained is not None:
        model = AudioEmbedder.from_pretrained(config.pretrained).train()
        return model.front_end, model.encoder
    front_end = build(config.front_end, FrontEnd, "tonotopy.audio", seconds=seconds)
    known = {"num_bins": front_end.num_bins, "sample_rate": front_end.sample_rate}
    if isinstance(front_end, Waveform):
        known["num_samples"] = front_end.num_samples
    return front_end, build(config.encoder, Encoder, "tonotopy.encoders", **known)


def with_pretrained(config: FitConfig) -> FitConfig:
    """Write into a configuration the front end and encoder of the model that it starts from.

    Raises:
        UsageError: There is no such model, or the configuration asks for another architecture.
    """
    if config.pretrained is None:
        return config
    model = AudioEmbedder.from_pretrained(config.pretrained)
    front_end, encoder = model.front_end.component, model.encoder.component
    for option, found in (("front_end", front_end), ("encoder", encoder)):
        asked: Component = getattr(config, option)
        if asked != _default(option) and not _describes(asked, found):
            raise UsageError(
                f"--{option} asks for {asked}, and the weights of --pretrained "
                f"{config.pretrained} are of {found}: leave --{option} out to go on with that "
                "model, or leave --pretrained out to train another one"
            )
    resolved = Path(config.pretrained).resolve()
    return replace(config, front_end=front_end, encoder=encoder, pretrained=resolved)


def _default(option: str) -> Component:
    (factory,) = (f.default_factory for f in fields(FitConfig) if f.name == option)
    assert factory is not MISSING, "components have defaults"
    made: Component = factory()
    return made


def _describes(asked: Component, found: Component) -> bool:
    """Whether what was asked for is of the class found, with no argument that differs."""
    same = asked.class_path.rpartition(".")[2] == found.class_path.rpartition(".")[2]
    return same and all(found.init_args.get(k) == v for k, v in asked.init_args.items())
