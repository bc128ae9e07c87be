"""The label tree: building, coding, errors that name the node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tonotopy._errors import DataError, UsageError
from tonotopy.labels import NO_LEVEL, UNKNOWN, LabelTree, display_name

PATHS = [
    ("Strings", "Violin", "arco"),
    ("Strings", "Violin", "pizzicato"),
    ("Strings", "Harp"),
    ("Voice",),
    ("Wind", "Reed", "Oboe", "muted"),
]

names = st.text(min_size=1, max_size=4, alphabet="ab/\\ '\n_é🎻\"")
label_paths = st.lists(st.lists(names, min_size=1, max_size=4).map(tuple), max_size=12)


@given(label_paths, st.randoms())
def test_ids_do_not_depend_on_the_order_of_the_input(paths, random) -> None:  # type: ignore[no-untyped-def]  # hypothesis fills them
    shuffled = list(paths)
    random.shuffle(shuffled)
    tree = LabelTree(paths)
    assert tree == LabelTree(shuffled)
    assert hash(tree) == hash(LabelTree(shuffled))
    assert [tree.node(tree.path(node)) for node in range(tree.num_nodes)] == list(
        range(tree.num_nodes)
    )


@given(label_paths)
def test_round_trips(paths: list[tuple[str, ...]]) -> None:
    tree = LabelTree(paths)
    assert LabelTree.from_json(tree.to_json()) == tree
    every = [tree.path(node) for node in range(tree.num_nodes)] + [()]
    assert tree.decode(tree.encode(every)) == every
    assert len(set(tree.leaf_names)) == tree.num_leaves


@given(label_paths)
def test_codes_follow_their_definition(paths: list[tuple[str, ...]]) -> None:
    tree = LabelTree(paths)
    every = [tree.path(node) for node in range(tree.num_nodes)] + [()]
    codes = tree.encode(every)
    assert codes.shape == (len(every), tree.num_levels)
    for path, row in zip(every, codes.tolist(), strict=True):
        below = [p for p in every if p[: len(path)] == path]
        reach = max(len(p) for p in below)
        known = [tree.node(path[:end]) for end in range(1, len(path) + 1)]
        unknown = [UNKNOWN] * (reach - len(path))
        assert row == known + unknown + [NO_LEVEL] * (tree.num_levels - reach)


@given(label_paths)
def test_relations_agree(paths: list[tuple[str, ...]]) -> None:
    tree = LabelTree(paths)
    for node in range(tree.num_nodes):
        assert all(tree.parent(child) == node for child in tree.children(node))
        assert tree.is_leaf(node) == (node in tree.leaves)
        assert tree.depth(node) == len(tree.path(node))
        for leaf in tree.leaves_under(node):
            assert tree.lca_depth(node, leaf) == tree.depth(node)
    assert all(tree.parent(node) == -1 for node in tree.children(-1))


def test_the_tree_of_a_ragged_taxonomy() -> None:
    tree = LabelTree.from_paths(PATHS)
    assert tree.num_levels == 4
    assert tree.leaf_names == (
        "Strings/Harp",
        "Strings/Violin/arco",
        "Strings/Violin/pizzicato",
        "Voice",
        "Wind/Reed/Oboe/muted",
    )
    violin = tree.node(("Strings", "Violin"))
    codes = tree.encode([("Strings", "Violin"), ("Voice",), ("Strings",), ()])
    strings = tree.node(("Strings",))
    assert codes.tolist() == [
        [strings, violin, UNKNOWN, NO_LEVEL],
        [tree.node(("Voice",)), NO_LEVEL, NO_LEVEL, NO_LEVEL],
        [strings, UNKNOWN, UNKNOWN, NO_LEVEL],
        [UNKNOWN] * 4,
    ]
    assert tree.is_partial(("Strings", "Violin"))
    assert not tree.is_partial(("Voice",))
    assert tree.is_partial(())
    assert tree.leaf_index([("Voice",), ("Strings",), ()]).tolist() == [3, -1, -1]


@pytest.mark.parametrize(
    "tree",
    [
        LabelTree.from_columns(
            [("Strings", "Violin", "arco", None), ("Strings", "Violin", "pizzicato", ""),
             ("Strings", "Harp", None, None), ("Voice", "", "", ""),
             ("Wind", "Reed", "Oboe", "muted")]
        ),
        LabelTree.from_parents(
            {"Violin": "Strings", "arco": "Violin", "pizzicato": "Violin", "Harp": "Strings",
             "Voice": None, "Reed": "Wind", "Oboe": "Reed", "muted": "Oboe", "Wind": ""}
        ),
        LabelTree.from_newick(
            "(((arco:1,pizzicato)Violin[a comment],Harp:0.5)Strings,Voice,"
            "(((muted)Oboe)Reed)'Wind')music;"
        ),
    ],
)  # fmt: skip
def test_all_sources_give_the_same_tree(tree: LabelTree) -> None:
    assert tree == LabelTree.from_paths(PATHS)


def test_folders(tmp_path: Path) -> None:
    for path in [*PATHS, (".hidden", "x")]:
        tmp_path.joinpath(*path).mkdir(parents=True, exist_ok=True)
    assert LabelTree.from_folder(tmp_path) == LabelTree.from_paths(PATHS)


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ([("a", "b"), ("b", "c"), ("c", "a")], "own ancestor"),
        ([("a", "a")], "own ancestor"),
        ([("a", "b"), ("a", "c")], "'a' has two parents, 'b' and 'c'"),
        ([("a", "b"), ("a", "b")], "'a' stands twice"),
    ],
)
def test_bad_parent_tables_name_the_node(
    parents: Sequence[tuple[str, str | None]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        LabelTree.from_parent_table(parents)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("((a,a)b);", "two siblings under b are named 'a'"),
        ("(a,b", "missing"),
        ("a,b;", "comma outside"),
        ("(a));", "too many"),
        ("((a,)b);", "under b has no name"),
        ("('a", "unexpected"),
    ],
)
def test_bad_newick_names_the_place(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LabelTree.from_newick(text)


def test_newick_quotes() -> None:
    tree = LabelTree.from_newick("('it''s (odd), isn''t it',under_score);")
    assert tree.leaf_names == ("it's (odd), isn't it", "under score")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("Strings", "Violn"), "no 'Violn' under Strings; did you mean 'Violin'"),
        (("Brass",), "there are: Strings, Voice, Wind"),
        (("Voice", "solo"), "no 'solo' under Voice"),
    ],
)
def test_unknown_paths_name_the_nearest(path: tuple[str, ...], message: str) -> None:
    tree = LabelTree.from_paths(PATHS)
    assert path not in tree
    for call in (tree.encode, tree.leaf_index):
        with pytest.raises(UsageError, match=message):
            call([path])


def test_rows_with_holes_and_empty_names_are_refused() -> None:
    with pytest.raises(UsageError, match="follows an empty one"):
        LabelTree.from_columns([("a", None, "c")])
    with pytest.raises(UsageError, match="not empty"):
        LabelTree.from_paths([("a", "")])


def test_files(tmp_path: Path) -> None:
    tree = LabelTree.from_paths(PATHS)
    tree.save(tmp_path / "labels.json")
    assert LabelTree.load(tmp_path / "labels.json") == tree
    (tmp_path / "bad.json").write_text('{"nodes": []}')
    for name in ("bad.json", "none.json"):
        with pytest.raises(DataError, match=name):
            LabelTree.load(tmp_path / name)


def test_counts_and_picture() -> None:
    tree = LabelTree.from_paths(PATHS)
    counts = tree.counts([PATHS[0], PATHS[0], ("Strings",), PATHS[3]])
    assert tree.render(counts)[:4] == ["Strings  3", "  Harp  0", "  Violin  2", "    arco  2"]


def test_names_stay_unique_with_slashes() -> None:
    assert display_name(("a/b", "c")) != display_name(("a", "b/c"))
    assert display_name(("a\\", "b")) != display_name(("a\\/b",))


def test_the_empty_tree() -> None:
    tree = LabelTree([])
    assert (tree.num_nodes, tree.num_levels, tree.leaves) == (0, 0, ())
    assert torch.equal(tree.encode([(), ()]), torch.empty(2, 0, dtype=torch.long))
