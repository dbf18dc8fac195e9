"""Recording of the constructor arguments that a checkpoint carries."""

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
