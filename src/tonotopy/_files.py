"""Whole files or none: everything is written under a temporary name and renamed."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tonotopy._errors import DataError


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `target`, which replaces it when the block succeeds.

    Args:
        target: The file to write. Missing parent folders are made.

    Yields:
        A path in the same folder with the same suffix. If the block raises, it is removed and an
        older `target` is left as it was.

    Raises:
        DataError: The disk is full, read-only or otherwise refuses; the message names `target`.
    """
    target = Path(target)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise _explain(target, error.errno, str(error)) from error
    except Exception as error:
        # Libraries written in Rust report a failed disk as errors of their own.
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise _explain(target, int(number[1]), str(error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> None:
    """Write UTF-8 text to `target`, whole or not at all (see `atomic_path`)."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path | str, value: Any) -> None:
    """Write `value` as JSON to `target`, whole or not at all; NaN and infinity become null."""
    write_text(target, json.dumps(finite(value), indent=2, ensure_ascii=False) + "\n")


def finite(value: Any) -> Any:
    """Give `value` with NaN and infinity, which JSON does not know, as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _explain(target: Path, number: int | None, message: str) -> DataError:
    remedies = {
        errno.ENOSPC: "the disk is full: free some space and run the same command again",
        errno.EDQUOT: "the disk quota is used up: free some space and run the same command again",
        errno.EFBIG: "the file grew beyond what the system allows: check `ulimit -f`",
        errno.EROFS: "the disk is read-only: choose another output folder",
        errno.EACCES: "no permission to write there: choose another output folder",
    }
    return DataError(f"cannot write {target}: {remedies.get(number or 0, message)}")
