"""A model in the interface of EVAR, an evaluation package for audio representations.

In a checkout of EVAR, write `evar/ar_tonotopy.py` with the one line

    from tonotopy.evar import AR_Tonotopy

import `evar.ar_tonotopy` beside the other representations at the top of `lineareval.py` and of
`finetune.py`, and write a `config/tonotopy.yaml` like that of another model, with

    audio_repr: ar_tonotopy.AR_Tonotopy
    weight_file: /path/to/runs/mine    # a folder that `tonotopy fit` wrote
    feature_d: 512                     # length of its embeddings
    sample_rate: 22050                 # of its front end

Then `python lineareval.py config/tonotopy.yaml fsdnoisy18k`, for instance. Nothing of EVAR is
imported here.

Source: https://github.com/nttcslab/eval-audio-repr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.embedder import AudioEmbedder
from tonotopy.hear import embed_windows


class AR_Tonotopy(nn.Module):  # noqa: N801  # EVAR's names begin with AR_
    """What EVAR calls of a representation, for a model of this library.

    Args:
        cfg: EVAR's configuration; `weight_file`, `feature_d` and `sample_rate` are read.

    Raises:
        UsageError: There is no model at `weight_file`, or its embeddings or its sample rate are
            not those of the configuration.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        super().__init__()
        self.cfg = cfg
        self.embedder = AudioEmbedder.from_pretrained(cfg["weight_file"])
        ours = {
            "feature_d": self.embedder.embedding_dim,
            "sample_rate": self.embedder.sample_rate,
        }
        for name, value in ours.items():
            if cfg[name] != value:
                raise UsageError(
                    f"EVAR's configuration says {name}: {cfg[name]}, and the model in "
                    f"{cfg['weight_file']} has {value}: write {name}: {value}"
                )

    def precompute(self, device: torch.device, data_loader: Iterable[Any]) -> None:
        """Do nothing: a model keeps the statistics of its own training clips."""

    def set_augment_tf_feature_fn(self, aug_fn: Callable[[Tensor], Tensor]) -> None:
        """Refuse EVAR's masks and crops, which are made for the features of its own front ends.

        Raises:
            UsageError: They would change anything; set `ft_freq_mask` and `ft_time_mask` to 0 and
                `ft_rrc` to False.
        """
        masks, crop = (getattr(aug_fn, name, None) for name in ("spec_aug", "rrc"))
        if masks is not None or crop is not None:
            raise UsageError(
                "EVAR's augmentations of features do not fit the front ends of tonotopy: set "
                "ft_freq_mask: 0, ft_time_mask: 0 and ft_rrc: False"
            )

    def encode_frames(self, batch_audio: Tensor) -> Tensor:
        """Embed a second of audio (B, samples) around every 50 ms: (B, D, T), without gradient."""
        embeddings, _ = embed_windows(batch_audio, self.embedder)
        return embeddings.transpose(1, 2)

    def forward(self, batch_audio: Tensor) -> Tensor:
        """Embed audio (B, samples) in [-1, 1]: (B, D)."""
        embeddings: Tensor = self.embedder(batch_audio)
        return embeddings
