"""Objects that a run's configuration names, without importing anything.

A run folder may come from somebody else. Importing the class that it names would run code that it
chooses.
"""

import sys


def imported_object(path: str) -> object | None:
    """Return an object by its full path, None if its module has not been imported.

    Args:
        path: Full path of the object. A module's ``__getattr__`` is not asked, since it may import.

    >>> imported_object("collections.Counter"), imported_object("this.s")
    (<class 'collections.Counter'>, None)
    """
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), "__dict__", {}).get(name)
