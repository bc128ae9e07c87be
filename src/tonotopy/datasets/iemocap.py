"""IEMOCAP: acted emotions in dialogue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tonotopy.clips import ClipTable, scan_files
from tonotopy.datasets.public import PublicDataset

EMOTIONS = {"neu": "neutral", "hap": "happy", "ang": "angry", "sad": "sad"}
SESSIONS = ("1", "2", "3", "4", "5")

_LINE = re.compile(r"^\[[^\]]*\]\t(?P<name>\w+_[FM]\w+)\t(?P<emotion>[a-z]{3})\t", re.MULTILINE)
"""`[start - end]`, utterance, agreed emotion (`xxx`: none), tab-separated; its votes follow."""


def load_iemocap(folder: Path) -> ClipTable:
    """Read `SessionN/dialog/EmoEvaluation/*.txt` and `SessionN/sentences/wav/`.

    Labels are the four classes of common use (neutral, happy, angry, sad; excitement is not
    merged), all other utterances are left out; folds are the sessions, to leave one out; the
    group is the speaker (`1F`: the woman of session 1).
    """
    rows = []
    for session in SESSIONS:
        root = folder / f"Session{session}"
        for name, emotion in _annotations(root):
            if emotion in EMOTIONS:
                # Ses01F_impro01_M003: in dialogue Ses01F_impro01, said by the man of session 1;
                # the first F tells who wore the markers.
                dialogue, turn = name.rsplit("_", 1)
                path = f"Session{session}/sentences/wav/{dialogue}/{name}.wav"
                rows.append((path, (EMOTIONS[emotion],), session, f"{session}{turn[0]}"))
    return scan_files(folder, rows)


def _annotations(session: Path) -> Iterator[tuple[str, str]]:
    for file in sorted((session / "dialog" / "EmoEvaluation").glob("*.txt")):
        if not file.name.startswith("."):
            for match in _LINE.finditer(file.read_text(encoding="latin-1")):
                yield match["name"], match["emotion"]


IEMOCAP = PublicDataset(
    name="iemocap",
    title="IEMOCAP: Interactive Emotional Dyadic Motion Capture Database",
    description=(
        "4,490 utterances of ten actors in five sessions; four classes (neutral, happy, angry, "
        "sad), without excitement. "
        "Leave one session out: both its speakers are then unheard."
    ),
    licence="Restricted: signed agreement with the University of Southern California",
    citation=(
        "C. Busso et al., IEMOCAP: Interactive Emotional Dyadic Motion Capture Database, "
        "Language Resources and Evaluation 42, 2008"
    ),
    homepage="https://sail.usc.edu/iemocap/",
    size="about 12 hours of recordings",
    layout=tuple(
        f"Session{session}/{part}/"
        for session in SESSIONS
        for part in ("dialog/EmoEvaluation", "sentences/wav")
    ),
    loader=load_iemocap,
    request=(
        "Sign the release form at https://sail.usc.edu/iemocap/iemocap_release.htm; its owners "
        "send a link. Unpack what you get, and load the folder that holds Session1 to Session5."
    ),
)
