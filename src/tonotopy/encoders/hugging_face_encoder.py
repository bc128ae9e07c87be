"""Any audio model of Hugging Face's transformers as an encoder."""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import DataError, MissingExtraError, UsageError
from tonotopy.encoders.encoder import Encoder

_UNUSED_WEIGHTS = ("masked_spec_embed", "pooler", "decoder")
"""Parts that embedding does not use, so that a checkpoint may lack them."""


class HuggingFaceEncoder(Encoder):
    """Embed waveforms with an audio model of transformers; needs the extra `hf-audio`.

    The model's own feature extractor prepares each clip; the embedding is the mean of the last
    hidden states over the clip's frames, or over all tokens for models without a time axis. Of
    models with a decoder only the encoder is used. A saved model holds the weights, the
    configuration and the settings of the feature extractor, so that it needs no other file; no
    code of a repository is run and no pickle is read.

    Clips of different lengths share a batch, under an attention mask, where the model was trained
    with one; other models get clips of one length at a time. So padding plays no part.

    Args:
        source: A folder of `save_pretrained` of transformers, or a hub id, with weights as
            safetensors; None in a saved model, or for a model with random weights.
        config: The model's configuration with its `model_type`, if there is no source.
        extractor: The settings of its feature extractor with their `feature_extractor_type`, if
            there is no source.
        sample_rate: Of the front end, `RawWaveform`, in hertz; checked against that of the model.
        frozen: Keep the weights as they are, and the model in `eval()`.

    Raises:
        MissingExtraError: transformers is not installed.
        UsageError: There is no such model, it embeds no audio, or it wants another sample rate.
        DataError: The weights are not those of the model; the message names what is missing.
    """

    def __init__(
        self,
        source: str | None = None,
        config: dict[str, Any] | None = None,
        extractor: dict[str, Any] | None = None,
        sample_rate: int | None = None,
        frozen: bool = True,
    ) -> None:
        library = _transformers()
        if source is not None:
            model, prepare = _load(library, source)
        elif config is None or extractor is None:
            raise UsageError("HuggingFaceEncoder: give a source, or a config and an extractor")
        else:
            model, prepare = _make_model(library, config), _make_extractor(library, extractor)
        config = json.loads(model.config.to_json_string(use_diff=False))
        if model.config.is_encoder_decoder:
            model = model.get_encoder()
        dim = getattr(model.config, "hidden_size", None)
        if not isinstance(dim, int):
            raise UsageError(
                f"HuggingFaceEncoder: {type(model).__name__} names no hidden_size: take the audio "
                "part of the model"
            )
        super().__init__(num_bins=1, embedding_dim=dim)
        self.sample_rate = int(prepare.sampling_rate)
        if sample_rate not in (None, self.sample_rate):
            raise UsageError(
                f"HuggingFaceEncoder: {type(model).__name__} expects {self.sample_rate} Hz, the "
                f"front end gives {sample_rate}: take RawWaveform({self.sample_rate})"
            )
        self.frozen = frozen
        self.model: Any = model.eval()
        self._prepare = prepare
        self._inputs = set(inspect.signature(model.forward).parameters)
        if frozen:
            self.model.requires_grad_(False)
        self.component.init_args.update(
            source=None,
            config=config,
            extractor=json.loads(prepare.to_json_string()),
            sample_rate=self.sample_rate,
        )

    @property
    def max_seconds(self) -> float | None:
        """The longest clip that the model reads, in seconds; None without a limit."""
        samples = getattr(self._prepare, "n_samples", None)
        frames = getattr(self._prepare, "max_length", None)
        if samples is None and isinstance(frames, int):
            samples = frames * self.sample_rate // 100  # mel frames, ten milliseconds apart
        return None if samples is None else samples / self.sample_rate

    def train(self, mode: bool = True) -> HuggingFaceEncoder:
        """Set the mode; a frozen model stays in `eval()`."""
        super().train(mode)
        self.model.train(mode and not self.frozen)
        return self

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embed waveforms (B, 1, T) with `lengths` in samples; see `Encoder.forward`."""
        clips = [self._inputs_of(clip) for clip in self._clips(features, lengths)]
        vectors = features.new_zeros(len(clips), self.embedding_dim)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            for rows in self._batches(clips):
                batch = _stack([clips[row] for row in rows], self._prepare.padding_value)
                vectors = vectors.index_put(
                    (torch.tensor(rows, device=vectors.device),),
                    self._embed({k: v.to(features.device) for k, v in batch.items()}).to(
                        vectors.dtype
                    ),
                )
        return vectors

    def _clips(self, features: Tensor, lengths: Tensor | None) -> list[Tensor]:
        """Give each clip's own samples; a clip shorter than the first window is repeated."""
        if features.ndim != 3 or features.shape[1] != 1 or features.shape[2] == 0:
            raise UsageError(
                f"expected waveforms (batch, 1, samples), got {tuple(features.shape)}: take the "
                "front end RawWaveform"
            )
        count, _, longest = features.shape
        ends = [longest] * count if lengths is None else lengths.tolist()
        if len(ends) != count or (ends and not 1 <= min(ends) <= max(ends) <= longest):
            raise UsageError(f"expected {count} lengths from 1 to {longest} samples, got {ends}")
        if (
            self.max_seconds is not None
            and ends
            and max(ends) > self.max_seconds * self.sample_rate
        ):
            raise UsageError(
                f"{type(self.model).__name__} reads at most {self.max_seconds:g} s, got "
                f"{max(ends) / self.sample_rate:g} s: give AudioEmbedder "
                f"window_seconds={self.max_seconds:g} or less"
            )
        clips = (row[0, :end].detach() for row, end in zip(features, ends, strict=True))
        least = self._first_window()
        return [
            clip.repeat(-(-least // len(clip))) if len(clip) < least else clip for clip in clips
        ]

    def _first_window(self) -> int:
        """Samples that the first output frame needs."""
        config = self.model.config
        kernels, strides = (
            getattr(config, "conv_kernel", None),
            getattr(config, "conv_stride", None),
        )
        if not isinstance(kernels, list | tuple) or not isinstance(strides, list | tuple):
            return self.sample_rate // 40  # the 25 ms of a spectrum
        samples = 1
        for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
            samples = (samples - 1) * stride + kernel
        return samples

    def _inputs_of(self, clip: Tensor) -> dict[str, Tensor]:
        prepared = self._prepare(
            clip.float().cpu().numpy(), sampling_rate=self.sample_rate, return_tensors="pt"
        )
        return {name: value for name, value in prepared.items() if name in self._inputs}

    def _batches(self, clips: list[dict[str, Tensor]]) -> list[list[int]]:
        """Group clips that the model can embed together."""
        if self._masks_waveforms() and all(set(clip) == set(clips[0]) for clip in clips):
            return [list(range(len(clips)))] if clips else []
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row, clip in enumerate(clips):
            shapes = tuple((name, value.shape) for name, value in sorted(clip.items()))
            groups.setdefault(shapes, []).append(row)
        return list(groups.values())

    def _masks_waveforms(self) -> bool:
        """Tell whether the model was trained on waveforms with a mask for the padding."""
        known = hasattr(self.model, "_get_feature_vector_attention_mask")
        waveforms = self.model.main_input_name == "input_values" and hasattr(
            self.model.config, "conv_kernel"
        )
        return known and waveforms and bool(self._prepare.return_attention_mask)

    def _embed(self, batch: dict[str, Tensor]) -> Tensor:
        states = self.model(**batch).last_hidden_state
        mask = batch.get("attention_mask")
        if mask is None or not hasattr(self.model, "_get_feature_vector_attention_mask"):
            mean: Tensor = states.mean(dim=1)
            return mean
        valid = self.model._get_feature_vector_attention_mask(states.shape[1], mask)[..., None]
        total: Tensor = states.masked_fill(~valid.bool(), 0.0).sum(dim=1)
        masked_mean: Tensor = total / valid.sum(dim=1)
        return masked_mean


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("HuggingFaceEncoder", "hf-audio") from error
    return transformers


def _load(library: Any, source: str) -> tuple[Any, Any]:
    """Read model and feature extractor; only safetensors, no code."""
    try:
        prepare = library.AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
        model, report = library.AutoModel.from_pretrained(
            source,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"HuggingFaceEncoder: cannot load {source}: {error}") from error
    wrong = [
        f"expected {name} of shape {tuple(expected)}, found {tuple(found)}"
        for name, found, expected in sorted(report["mismatched_keys"])
    ]
    wrong += [
        f"expected {name}, found none"
        for name in sorted(report["missing_keys"])
        if not any(part in name for part in _UNUSED_WEIGHTS)
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise DataError(
            f"the weights of {source} are not those of its {type(model).__name__}: "
            f"{'; '.join(wrong[:3])}{more}"
        )
    return model, prepare


def _make_model(library: Any, config: dict[str, Any]) -> Any:
    try:
        made = library.AutoConfig.for_model(**copy.deepcopy(config))
        model = library.AutoModel.from_config(made, trust_remote_code=False)
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(
            f"HuggingFaceEncoder: no model of this config, model_type "
            f"{config.get('model_type')!r}: {error}"
        ) from error
    return model.float()


def _make_extractor(library: Any, settings: dict[str, Any]) -> Any:
    name = settings.get("feature_extractor_type")
    cls: Any = getattr(library, str(name), None)
    if library.SequenceFeatureExtractor not in getattr(cls, "__mro__", ()):
        raise UsageError(
            f"HuggingFaceEncoder: expected the feature_extractor_type of a feature extractor of "
            f"transformers, got {name!r}"
        )
    return cls.from_dict(copy.deepcopy(settings))


def _stack(clips: list[dict[str, Tensor]], padding_value: float) -> dict[str, Tensor]:
    """Join the inputs of clips; waveforms are padded, and the mask with zeros."""
    batch = {}
    for name in clips[0]:
        values = [clip[name] for clip in clips]
        longest = max(value.shape[1] for value in values)
        fill = 0 if name == "attention_mask" else padding_value
        batch[name] = torch.cat(
            [
                torch.nn.functional.pad(value, (0, longest - value.shape[1]), value=fill)
                if value.shape[1] < longest
                else value
                for value in values
            ]
        )
    return batch
