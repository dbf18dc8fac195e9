"""``mmie corpus``: the demo corpus, and photographs, counts, checks and features of any corpus."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mmie.cli.parsing import OneLineParser, usage_errors
from mmie.data import Corpus
from mmie.data.corpora.checks import check_corpus, render_report
from mmie.data.corpora.pairing import pair_corpus, render_pairing
from mmie.data.corpora.statistics import corpus_stats, render_stats
from mmie.data.demo import render_bounds, write_demo
from mmie.formats.splitting import Division, render_division, split_corpus
from mmie.utils.terminal import PlainConsole, print_lines


def corpus_command(arguments: Sequence[str]) -> None:
    """Run ``mmie corpus demo``, ``pair``, ``split``, ``stats``, ``check`` or ``features``.

    Raises:
        UsageError: An option is wrong.
        MmieError: The corpus cannot be read.
    """
    if arguments[:1] == ["features"]:
        from mmie.cli.lightning import features_command  # imports Lightning, which the others spare

        features_command(arguments[1:])
        return
    parser = _corpus_parser()
    settings = parser.parse_args(list(arguments))
    with usage_errors():
        chosen = parser.instantiate(settings)[settings.subcommand]
        if settings.subcommand == "demo":
            PlainConsole().print(render_bounds(write_demo(**chosen.as_dict())))
            return
        if settings.subcommand == "pair":
            PlainConsole().print(render_pairing(pair_corpus(**chosen.as_dict())))
            return
        if settings.subcommand == "split":
            _print_division(split_corpus(**chosen.as_dict()))
            return
    if settings.subcommand == "stats":
        _print_stats(chosen.corpus, chosen.json)
    else:
        _print_check(chosen.corpus, chosen.json)


def _print_division(division: Division) -> None:
    """Print the counts of a division, and what was changed or left out."""
    PlainConsole().print(render_division(division))
    for counts in (division.notes.unused, division.notes.remarks):
        for kind, count in counts.items():
            print_lines(f"note: {count} {kind}", file=sys.stderr)


def _print_stats(corpus: Corpus, as_json: bool) -> None:
    """Print the counts of a corpus."""
    stats = corpus_stats(corpus)
    if as_json:
        print(json.dumps(stats, indent=2))
    else:
        PlainConsole().print(render_stats(stats))


def _print_check(corpus: Corpus, as_json: bool) -> None:
    """Print what is wrong with a corpus, and exit with status 1 if something is."""
    corpus.strict = False  # list every malformed line, not only the first
    report = check_corpus(corpus)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        PlainConsole().print(render_report(report))
    sys.exit(0 if report.ok else 1)


def _corpus_parser() -> OneLineParser:
    """Build the parser of ``mmie corpus``."""
    parser = OneLineParser(
        prog="mmie corpus",
        description="Make the demo corpus; pair a corpus with photographs; divide a file of posts; "
        "count or check any corpus; with features, a --config and the other options of mmie fit, "
        "compute in advance the features that its fits and tests read.",
    )
    commands = parser.add_subcommands()
    demo = OneLineParser(
        description="Write the demo corpus and print the best score that text alone can reach on "
        "it."
    )
    demo.add_function_arguments(write_demo)
    commands.add_subcommand("demo", demo, help="write the demo corpus")
    pair = OneLineParser(
        description="Write the texts and labels of a corpus with photographs whose groups show "
        "the types of entities, to measure the use of pictures. Scores on it are not scores of "
        "the corpus."
    )
    pair.add_subclass_arguments(
        Corpus, "corpus", required=True, help="E.g. Twitter2017 --corpus.root data/twitter2017"
    )
    pair.add_function_arguments(pair_corpus, skip={"corpus"})
    commands.add_subcommand("pair", pair, help="pair a corpus with photographs")
    split = OneLineParser(
        description="Divide a file of posts into training, validation and test splits with their "
        "shares of every label (iterative stratification)."
    )
    split.add_argument("source", type=Path, help="File of mmie's JSON lines.")
    split.add_function_arguments(split_corpus, skip={"source"})
    commands.add_subcommand("split", split, help="divide a file of posts into splits")
    purposes = {
        "stats": "count posts, entities, relations and pictures",
        "check": "find broken lines, broken pictures and overlaps of splits",
    }
    for name, purpose in purposes.items():
        command = OneLineParser(description=f"For any corpus: {purpose}.")
        command.add_subclass_arguments(
            Corpus, "corpus", required=True, help="E.g. MNRE --corpus.root data/mnre"
        )
        command.add_argument("--json", action="store_true", help="Print JSON in place of a table.")
        commands.add_subcommand(name, command, help=purpose)
    return parser
