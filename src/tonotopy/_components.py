"""Components by name: a class and the arguments of its constructor, nothing else.

A component (front end, encoder, loss, augmentation) is written in YAML as its class name, or as a
mapping with `class_path` and `init_args`. The constructor's own signature is the schema: types are
checked by jsonargparse, misspelt arguments are errors that name the nearest right one.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from tonotopy._errors import UsageError

T = TypeVar("T")


class Component:
    """A class by name with the arguments of its constructor.

    Args:
        class_path: A public name of the family's package (`"ResNet18"`), or the full import path of
            a class of your own, in a module that you have imported.
        init_args: Keyword arguments of its constructor.
    """

    # Not a dataclass: jsonargparse would read one as a group of options instead of as one value.
    def __init__(self, class_path: str, init_args: dict[str, Any] | None = None) -> None:
        self.class_path = class_path
        self.init_args = dict(init_args or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Component) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.class_path, tuple(self.init_args)))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.init_args.items())
        return f"{self.class_path}({arguments})"

    @classmethod
    def parse(cls, value: str | dict[str, Any] | Component) -> Component:
        """Accept a class name, a mapping or a component; raise `UsageError` for anything else."""
        if isinstance(value, Component):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, dict) and isinstance(value.get("class_path"), str):
            unknown = set(value) - {"class_path", "init_args"}
            if unknown:
                raise UsageError(
                    f"component {value['class_path']}: unknown key {sorted(unknown)[0]!r}; "
                    "expected 'class_path' and 'init_args'"
                )
            return cls(value["class_path"], dict(value.get("init_args") or {}))
        raise UsageError(f"expected a class name or a mapping with 'class_path', got {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return `{"class_path": ..., "init_args": ...}` for YAML and JSON."""
        return {"class_path": self.class_path, "init_args": dict(self.init_args)}


class Configurable:
    """Base of the families: an object remembers the arguments that made it.

    `component` is what `build` needs to make the same object again, so a model file can describe
    its own architecture. Arguments must be plain values (numbers, text, lists, mappings).
    """

    component: Component

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__init__" in cls.__dict__:
            # setattr: the checker rightly refuses to assign to a class's `__init__` by name.
            setattr(cls, "__init__", _remember_arguments(cls.__dict__["__init__"]))  # noqa: B010


def _remember_arguments(initialise: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(initialise)

    @functools.wraps(initialise)
    def remember(self: Configurable, *args: Any, **kwargs: Any) -> None:
        # A subclass's constructor comes first; what it passes to its base, the user did not say.
        if "component" not in self.__dict__:
            given = signature.bind(self, *args, **kwargs)
            given.apply_defaults()  # a later change of a default must not change old models
            values = dict(list(given.arguments.items())[1:])
            cls = type(self)
            family = ".".join(cls.__module__.split(".")[:2])
            public = cls.__module__.startswith("tonotopy.")
            path = f"{family}.{cls.__name__}" if public else f"{cls.__module__}.{cls.__name__}"
            self.__dict__["component"] = Component(path, values)
        initialise(self, *args, **kwargs)

    return remember


def build(component: Component, base: type[T], package: str, **supplied: Any) -> T:
    """Make the object that a component describes.

    Args:
        component: What to make.
        base: The family; the class must be a subclass.
        package: Where short names are looked up, e.g. `"tonotopy.encoders"`.
        **supplied: Values that only the caller knows (`num_classes`, `embedding_dim`, ...); each is
            passed when the constructor has a parameter of that name that `init_args` leaves open.

    Raises:
        UsageError: The class is unknown or of another family, or an argument is misspelt, missing
            or of the wrong type. The message names it.
    """
    cls = find_class(component.class_path, base, package)
    parameters = inspect.signature(cls).parameters
    for name in component.init_args:
        if name not in parameters:
            raise UsageError(
                f"{cls.__name__} has no argument {name!r}{_nearest(name, list(parameters))}; "
                f"its arguments: {', '.join(parameters)}"
            )
    filled = {
        name: value
        for name, value in supplied.items()
        if name in parameters and name not in component.init_args
    }
    arguments = _check_types(cls, component.init_args, skip=set(filled))
    return cls(**arguments, **filled)


def find_class(class_path: str, base: type[T], package: str) -> type[T]:
    """Find a class by its public name in `package`, or by its full path in an imported module.

    Nothing is imported that the program has not imported already, except `tonotopy` itself, so a
    configuration file cannot run foreign code.

    Raises:
        UsageError: No such class, or not a subclass of `base`.
    """
    module_name, _, name = class_path.rpartition(".")
    module_name = module_name or package
    if module_name == "tonotopy" or module_name.startswith("tonotopy."):
        try:
            importlib.import_module(module_name)
        except ImportError as error:
            raise UsageError(f"no module {module_name!r} for component {class_path!r}") from error
    module = sys.modules.get(module_name)
    if module is None:
        raise UsageError(
            f"component {class_path!r}: import its module {module_name!r} before loading it "
            "(configuration files never import code of their own)"
        )
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and issubclass(found, base)):
        known = component_names(base, package)
        raise UsageError(
            f"no {base.__name__} named {name!r} in {module_name}{_nearest(name, known)}; "
            f"there are: {', '.join(known)}"
        )
    return found


def component_names(base: type, package: str) -> list[str]:
    """List the public concrete subclasses of `base` that `package` offers, by name."""
    module = importlib.import_module(package)
    members = ((name, getattr(module, name)) for name in module.__all__)
    return sorted(
        name
        for name, item in members
        if inspect.isclass(item)
        and issubclass(item, base)
        and item is not base
        and not inspect.isabstract(item)
    )


def _check_types(cls: type, values: dict[str, Any], skip: set[str]) -> dict[str, Any]:
    """Parse `values` with the constructor's own annotations and defaults."""
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, skip=skip)
    try:
        parsed = parser.parse_object(values)
    except ArgumentError as error:
        raise UsageError(f"{cls.__name__}: {error}") from error
    return {name: value for name, value in parsed.as_dict().items() if name in values}


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
