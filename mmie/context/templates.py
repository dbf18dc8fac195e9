"""Templates with named gaps in braces, for contexts and for prompts."""

import re
from collections.abc import Collection, Mapping

from mmie.context.errors import ContextError

_GAP = re.compile(r"\{(\w+)\}")


def check_template(template: str, names: Collection[str]) -> None:
    """Raise if a template has an unknown gap or none at all.

    Args:
        template: The template.
        names: Names that gaps may have.

    Raises:
        ContextError: A gap has another name, or there is no gap.
    """
    gaps = _GAP.findall(template)
    expected = " and ".join(f"{{{name}}}" for name in names)
    unknown = [name for name in gaps if name not in names]
    if unknown:
        raise ContextError(f"template has {{{unknown[0]}}}: expected {expected}")
    if not gaps:
        raise ContextError(f"template has no gap to fill: expected {expected}")


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Fill the gaps of a template. What looks like a gap in a value stays as it is.

    >>> fill_template("{text} ({labels})", {"text": "{labels} won", "labels": "none"})
    '{labels} won (none)'
    """
    return _GAP.sub(lambda match: values[match[1]], template)
