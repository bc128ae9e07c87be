"""The error tree: every message says what was expected, what was found and the remedy.

TonotopyError
├── DataError            the data or the disk failed          (exit code 1)
│   └── AudioError       one audio file cannot be used; carries a short reason
└── UsageError           an option, file or call is wrong     (exit code 2)
    └── MissingExtraError   an optional dependency is not installed
"""

from __future__ import annotations

from pathlib import Path


class TonotopyError(Exception):
    """Base of every error that tonotopy raises on purpose."""

    exit_code = 1


class DataError(TonotopyError):
    """Data, a file or the disk failed; exit code 1."""


class AudioError(DataError):
    """One audio file cannot be used.

    Args:
        path: The file.
        reason: One word or two for tables: `"empty"`, `"unreadable"`, `"NaN"`, ...
        detail: What exactly was found.
    """

    def __init__(self, path: Path | str, reason: str, detail: str = "") -> None:
        super().__init__(f"{path}: {reason}" + (f" ({detail})" if detail else ""))
        self.path = Path(path)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[AudioError], tuple[Path, str, str]]:
        return type(self), (self.path, self.reason, self.detail)


class UsageError(TonotopyError):
    """An option, a configuration or a call is wrong; exit code 2."""

    exit_code = 2


class MissingExtraError(UsageError):
    """An optional dependency is not installed.

    Args:
        feature: What was asked for, in the user's words.
        extra: The extra that brings the dependency.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency: pip install 'tonotopy[{extra}]'")
        self.feature = feature
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.feature, self.extra)
