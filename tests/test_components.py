"""Components: from a name and arguments to an object and back."""

from __future__ import annotations

import copy
import sys
import types

import pytest
from torch import nn

from tonotopy._components import Component, Configurable, build, component_names, find_class
from tonotopy._errors import UsageError


class Shape(Configurable, nn.Module):
    """A family."""


class Circle(Shape):
    """A member with a default."""

    def __init__(self, radius: float, *, name: str = "circle") -> None:
        super().__init__()
        self.radius = radius
        self.name = name


class Ball(Circle):
    """A member whose base wants other arguments."""

    def __init__(self, size: int = 3) -> None:
        super().__init__(2.0 * size, name="ball")


@pytest.fixture(autouse=True)
def _family(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("shapes")
    members = {"Shape": Shape, "Circle": Circle, "Ball": Ball, "other": 3}
    module.__dict__.update(members, __all__=list(members))
    monkeypatch.setitem(sys.modules, "shapes", module)


def test_an_object_remembers_what_made_it_with_the_defaults_of_the_day() -> None:
    assert Circle(1.0).component.init_args == {"radius": 1.0, "name": "circle"}
    assert Ball().component.init_args == {"size": 3}
    assert copy.deepcopy(Ball(4)).component.init_args == {"size": 4}


def test_round_trip() -> None:
    made = build(Component("Circle", {"radius": 2.5}), Shape, "shapes")
    written = made.component.to_dict()
    again = build(Component("shapes.Circle", Component.parse(written).init_args), Shape, "shapes")
    assert isinstance(again, Circle)
    assert (again.radius, again.name) == (2.5, "circle")


def test_supplied_values_fill_what_the_user_left_open() -> None:
    circle = build(Component("Circle"), Shape, "shapes", radius=7.0, unrelated=1)
    assert isinstance(circle, Circle)
    assert circle.radius == 7.0
    circle = build(Component("Circle", {"radius": 1.0}), Shape, "shapes", radius=7.0)
    assert isinstance(circle, Circle)
    assert circle.radius == 1.0


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Component("Circel"), "did you mean 'Circle'"),
        (Component("other"), "no Shape named 'other'"),
        (Component("Circle", {"raduis": 1.0}), "did you mean 'radius'"),
        (Component("Circle", {"radius": "wide"}), "radius"),
        (Component("Circle"), "radius"),
        (Component("somewhere.Circle"), "import its module 'somewhere'"),
        (Component("tonotopy.nowhere.Circle"), "no module 'tonotopy.nowhere'"),
    ],
)
def test_errors_name_what_is_wrong(component: Component, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(component, Shape, "shapes")


def test_loading_never_imports_foreign_code() -> None:
    with pytest.raises(UsageError):
        find_class("antigravity.Anything", Shape, "shapes")
    assert "antigravity" not in sys.modules


def test_names_are_those_of_the_concrete_members() -> None:
    assert component_names(Shape, "shapes") == ["Ball", "Circle"]


@pytest.mark.parametrize("value", [3, {"init_args": {}}, {"class_path": "A", "args": {}}, None])
def test_parse_refuses_what_is_no_component(value: object) -> None:
    with pytest.raises(UsageError):
        Component.parse(value)  # type: ignore[arg-type]  # what a YAML file may hold
