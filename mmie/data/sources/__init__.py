"""Sources of one's own posts: JSON lines, CSV, TSV, a folder or standard input, read one by one.

============================  ======================================================================
source                        a post is
============================  ======================================================================
``posts.jsonl``, ``-``        a line as `mmie.data.post_json` describes it; without an ``id`` its id
                              is the line's number
``posts.json``                the same, or an object of an array or of a sequence of objects, over
                              any number of lines; without an ``id`` its id is its number
``posts.csv``, ``posts.tsv``  a row with the column ``text`` and, if present, ``id``, ``image`` (or
                              ``path``), ``images`` (a JSON list of paths), ``context``
a folder                      ``<id>.txt``, the picture ``<id>.jpg`` or of any other suffix of
                              `picture_suffixes`, or both; upper and lower case do not count
============================  ======================================================================

Each row is a post or a `BadPost`. Texts are UTF-8, or UTF-16 or UTF-32 with a byte-order mark.
Paths of pictures are relative to the folder of the file, or to a folder that is given, and may not
lead out of it. Keys and columns that are not read are kept (`Post.extra`). They, and files of a
folder that are not read, cause one warning, since a picture under another name would otherwise be
missed silently.
"""

from mmie.data.sources.items import BadPost, SourceError
from mmie.data.sources.reading import STANDARD_INPUT, SourceOptions, count_posts, read_source

__all__ = [
    "STANDARD_INPUT",
    "BadPost",
    "SourceError",
    "SourceOptions",
    "count_posts",
    "read_source",
]
