"""What OrchideaSOL and TinySOL share: notes filed by who plays them, and how."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tonotopy._errors import DataError

OPEN = "open"
"""The mute of an instrument that plays without one."""


def played_as(path: str, table: Path) -> tuple[str, str, str, str]:
    """Give family, instrument, mute and technique of a recording.

    Args:
        path: As in the official table: `family/instrument/technique/name.wav`, where the folder of
            a muted instrument is `instrument+mute`.
        table: The table, for the message.

    Raises:
        DataError: The path has another form.

    Examples:
        >>> played_as("Brass/Horn+sordina/flatterzunge/Hn+S-flatt-A3-mf-N-N.wav", Path("t.csv"))
        ('Brass', 'Horn', 'sordina', 'flatterzunge')
    """
    folders = PurePosixPath(path).parts[:-1]
    instrument, plus, mute = folders[1].partition("+") if len(folders) == 3 else ("", "", "")
    if not instrument or bool(plus) != bool(mute):
        raise DataError(
            f"{table} is not the official table: {path!r} is not of the form "
            "family/instrument/technique/name.wav or family/instrument+mute/technique/name.wav"
        )
    return folders[0], instrument, mute or OPEN, folders[2]


def note_group(path: str, pitch: str) -> str | None:
    """Name what all takes of one note share: the folder of the recording, and the pitch.

    Dynamics, string and repetition do not count: such takes are near-duplicates.

    Args:
        path: As in the official table.
        pitch: As in the official table; "" for sounds without pitch.

    Returns:
        The group; None without a pitch: nothing tells then which takes belong together.
    """
    return f"{PurePosixPath(path).parent}/{pitch}" if pitch else None
