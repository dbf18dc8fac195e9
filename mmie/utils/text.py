"""Short, safe renderings of values, texts and errors for messages of one line."""

import difflib
import errno
import re
import unicodedata
from collections.abc import Iterable

from mmie.utils.terminal import printable

_WAYS_OUT = {
    errno.ENOSPC: "free space there, or name a folder on another disk",
    errno.EDQUOT: "free space there, or name a folder on another disk",
    errno.EFBIG: "raise the limit (ulimit -f), or name a folder on another disk",
    errno.EACCES: "ask for the rights, or name another folder",
    errno.EPERM: "ask for the rights, or name another folder",
    errno.EROFS: "name a folder that can be written",
    errno.ENOTDIR: "name a path that leads through folders alone",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.EMFILE: "raise the limit (ulimit -n)",
    errno.ELOOP: "name a path without links",
}
MAX_SHOWN = 160
"""Most characters of a foreign text that a message repeats."""
_FORMULA_SIGNS = frozenset("=+-@")
"""Signs that begin a formula, in any width."""


def truncate(text: str, limit: int = MAX_SHOWN) -> str:
    """Shorten a text to at most ``limit`` characters.

    >>> truncate("a long text", 8)
    'a lon...'
    """
    if len(text) <= limit:
        return text
    return f"{text[: limit - 3]}..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that names what is spelled most like an unknown name.

    Upper and lower case, hyphens and underscores do not count.

    Args:
        name: The unknown name.
        known: All names that exist.

    Returns:
        The question, to be appended to a message; empty if no name is alike.

    >>> did_you_mean("ftt", ["fit", "test"]), did_you_mean("stats", ["fit"])
    (", did you mean 'fit'?", '')
    """
    originals: dict[str, str] = {}
    for candidate in known:
        originals.setdefault(fold_name(candidate), candidate)
    closest = difflib.get_close_matches(fold_name(name), originals, n=1)
    return f", did you mean '{originals[closest[0]]}'?" if closest else ""


def fold_name(name: str) -> str:
    """Reduce a name to what distinguishes it from others, whatever its form.

    >>> fold_name("text_only") == fold_name("TextOnly") == fold_name("Text-Only")
    True
    """
    return re.sub("[-_]", "", name).casefold()


def safe_repr(value: object) -> str:
    """Spell out a value as Python does, or name its type where Python refuses to.

    Python refuses integers of thousands of digits and values that are nested too deeply.
    """
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message, or the error's type if it has no message.

    >>> first_line(ValueError("a reason\nand a traceback")), first_line(KeyError())
    ('a reason', 'KeyError')
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def describe_error(error: BaseException) -> str:
    r"""Name an error's type and the first line of its message, at most 200 characters of it.

    >>> describe_error(ValueError("a reason\nand a traceback")), describe_error(KeyError())
    ('ValueError: a reason', 'KeyError')
    """
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    return f"{type(error).__name__}: {lines[0][:200]}"


def describe_os_error(error: OSError) -> str:
    """Name the file of an error of the operating system, what happened, and a way out.

    >>> describe_os_error(OSError(28, "No space left on device", "runs/a/best.ckpt"))
    'runs/a/best.ckpt: No space left on device: free space there, or name a folder on another disk'
    """
    if error.errno is None:
        return describe_error(error)
    parts = [] if error.filename is None else [str(error.filename)]
    parts.append(error.strerror or type(error).__name__)
    if error.errno in _WAYS_OUT:
        parts.append(_WAYS_OUT[error.errno])
    return ": ".join(parts)


def is_utf8(text: str) -> bool:
    r"""Tell whether a text can be written as UTF-8, that is, whether it holds no lone surrogate.

    >>> is_utf8("naïve"), is_utf8("\ud83d")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def replace_surrogates(text: str) -> str:
    r"""Replace lone surrogates, which UTF-8 cannot hold, by ``?``.

    >>> replace_surrogates("a\ud83db")
    'a?b'
    """
    return text.encode(errors="replace").decode()


def escape_markdown(value: object) -> str:
    r"""Escape a text for Markdown, also for a cell of a table.

    >>> escape_markdown("a|b <i>")
    'a\\|b \\<i\\>'
    """
    text = printable(" ".join(str(value).split()))
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)


def inline_code(value: object) -> str:
    r"""Format a text as inline code of Markdown, in which nothing is markup.

    >>> inline_code("<i>`\n")
    "`<i>'\\n`"
    """
    text = printable(value).replace("`", "'")
    return f"`{text}`"


def is_formula(cell: str) -> bool:
    """Tell whether a spreadsheet would evaluate a cell.

    Spreadsheets skip spaces and invisible characters, and read full-width signs as signs.

    >>> is_formula("=1+1"), is_formula(" @ann"), is_formula("Ann")
    (True, True, False)
    """
    visible = (sign for sign in cell if unicodedata.category(sign)[0] not in "ZC")
    return unicodedata.normalize("NFKC", next(visible, "")) in _FORMULA_SIGNS
