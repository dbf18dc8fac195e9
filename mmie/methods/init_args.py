"""Constructor arguments: recording of those that a checkpoint carries, and their defaults."""

import inspect
from abc import ABCMeta
from typing import Any


class RecordsInitArgs(ABCMeta):
    """Metaclass that records the constructor arguments of every instance as ``init_args``.

    Lightning's ``save_hyperparameters`` would also record the arguments that a subclass passes on
    to its parent, such as the activation that RSRNeT chooses for HVPNet. The subclass takes no such
    argument and could not be built again.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Build an instance and record its arguments."""
        module = super().__call__(*args, **kwargs)
        names = list(inspect.signature(cls.__init__).parameters)[1:]  # type: ignore[misc]
        module.init_args = {**dict(zip(names, args, strict=False)), **kwargs}
        return module


def constructor_defaults(method: type) -> dict[str, object]:
    """Return the defaults of the arguments that a class and its parents name, by name.

    Defaults of a class take the place of those of its parents.
    """
    defaults: dict[str, object] = {}
    for parent in method.__mro__:
        if "__init__" not in vars(parent):
            continue
        for name, parameter in inspect.signature(vars(parent)["__init__"]).parameters.items():
            if parameter.default is not parameter.empty:
                defaults.setdefault(name, parameter.default)
    return defaults
