"""Random numbers by name: what a clip draws depends on the clip, not on its batch or its device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tonotopy._errors import UsageError

# SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014): its
# step and the two factors of its mixing function, as signed numbers of 64 bits.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_FACTORS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
_ALL_VIEWS = -1


class KeyedGenerator:
    """Draw random numbers for the clips of a batch, each from a stream of its own.

    A number is a hash of (seed, epoch, clip, view, which call, which number of the call), with no
    state but the count of calls. So a clip draws the same whatever batch it is in, and each view of
    it something else. Uniform numbers and integers are the same to the last bit on every device.
    Normal ones are computed in float64 and rounded to float32, so that on two devices very few can
    differ, and those in the last bit; only Apple's GPUs, which have no float64, round earlier.

    A `torch.Generator` can do neither: its numbers depend on what was drawn for the clips before,
    and on the device.

    Args:
        keys: (B,) int64 of 64 random bits, one stream a clip; `for_views` makes them.
        shared_keys: (B,) likewise, of the numbers that all views of a clip share.
        view: Which view of the clips this is.

    Examples:
        >>> here = KeyedGenerator.for_views(torch.tensor([3, 8]), seed=1, epoch=0, view=0)
        >>> there = KeyedGenerator.for_views(torch.tensor([5, 3, 9]), seed=1, epoch=0, view=0)
        >>> torch.equal(here.uniform(4)[0], there.uniform(4)[1])
        True
    """

    def __init__(self, keys: Tensor, shared_keys: Tensor, view: int) -> None:
        self.view = view
        self._own = keys
        self._common = shared_keys
        self._calls = 0

    @classmethod
    def for_views(cls, clips: Tensor, *, seed: int, epoch: int, view: int) -> KeyedGenerator:
        """Make the generator of one view of the clips of a batch.

        Args:
            clips: (B,) integers, one a clip; equal ones draw the same. Their device is where the
                numbers are made.
            seed: Of the run.
            epoch: How often the clips were seen before.
            view: Which view of the clips this is, from 0.

        Raises:
            UsageError: `clips` is not a vector of integers.
        """
        if clips.ndim != 1 or clips.is_floating_point() or clips.is_complex():
            raise UsageError(
                "KeyedGenerator: expected one integer a clip (B,), got "
                f"{tuple(clips.shape)} of {clips.dtype}"
            )
        shared = _keys(clips, seed, epoch, _ALL_VIEWS)
        return cls(_keys(clips, seed, epoch, view), shared, view)

    def __len__(self) -> int:
        """Give the number of clips."""
        return len(self._own)

    def uniform(self, *shape: int, shared: bool = False) -> Tensor:
        """Draw from [0, 1) in steps of 2^-24, fresh numbers at every call.

        Args:
            *shape: Numbers for each clip; one when left out.
            shared: Draw what all views of the clip draw at this call instead.

        Returns:
            (B, *shape) float32. A longer row begins with the numbers of a shorter one.
        """
        return _shift(self._bits(shape, shared), 40).float() * 2.0**-24

    def normal(self, *shape: int, shared: bool = False) -> Tensor:
        """Draw from the standard normal distribution (Box and Muller); see `uniform`."""
        count = math.prod(shape)
        bits = self._bits(((count + 1) // 2,), shared)
        precise = torch.float32 if bits.device.type == "mps" else torch.float64
        angles = (bits & 0xFFFFFFFF).to(precise).mul_(math.tau * 2.0**-32)
        radii = _shift(bits, 32).add_(1).to(precise).mul_(2.0**-32)  # (0, 1]: never log(0)
        radii = radii.log_().mul_(-2.0).sqrt_()
        pairs = torch.stack([radii * angles.cos(), radii.mul_(angles.sin_())], dim=-1)
        return pairs.flatten(1)[:, :count].float().reshape(len(self), *shape)

    def integers(self, bounds: Tensor, *, shared: bool = False) -> Tensor:
        """Draw one of 0 .. bound - 1 for each clip.

        Args:
            bounds: (B,) integers from 1 to 2^31.
            shared: Draw what all views of the clip draw at this call instead.

        Returns:
            (B,) int64.
        """
        return _shift(self._bits((), shared), 33) * bounds >> 31

    def partners(self) -> Tensor:
        """Give each clip another one of the batch, and each view of a clip another partner.

        The clips stand in a circle, in a random order that all views share; view v is given the
        neighbour v + 1 places on. So every other clip is as probable, and the partner changes with
        the clips of the batch but not with their order.

        Returns:
            (B,) index of each clip's partner: a permutation that leaves no clip where it is, where
            there are two clips at least. Views share a partner only where there are more of them
            than other clips.
        """
        order = self._bits((), shared=True).argsort(stable=True)
        partners = torch.empty_like(order)
        partners[order] = order.roll(-1 - self.view % max(len(self) - 1, 1))
        return partners

    def _bits(self, shape: tuple[int, ...], shared: bool) -> Tensor:
        """Give (B, *shape) numbers of 64 random bits."""
        self._calls += 1
        keys = self._common if shared else self._own
        keys = _mix(keys + _signed(self._calls * _STEP))
        steps = torch.arange(1, math.prod(shape) + 1, device=keys.device).mul_(_STEP)
        return _mix(keys[:, None] + steps).view(len(self), *shape)


def _keys(clips: Tensor, seed: int, epoch: int, view: int) -> Tensor:
    """Hash the names of each stream into 64 bits, (B,)."""
    keys = torch.full_like(clips, _STEP, dtype=torch.int64)  # as zero would mix to zero
    for name in (seed, epoch, clips, view):
        keys = _mix(keys.bitwise_xor_(name if isinstance(name, Tensor) else _signed(name)))
    return keys


def _mix(bits: Tensor) -> Tensor:
    """Mix 64 bits in place, so that each depends on all; no two numbers become one."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        bits.bitwise_xor_(_shift(bits, shift)).mul_(factor)  # wraps around
    return bits.bitwise_xor_(_shift(bits, 31))


def _shift(bits: Tensor, places: int) -> Tensor:
    """Shift to the right and fill with zeros, not with the sign."""
    return (bits >> places).bitwise_and_(2 ** (64 - places) - 1)


def _signed(number: int) -> int:
    """Read the last 64 bits of an integer as a signed one."""
    return (number + 2**63) % 2**64 - 2**63
