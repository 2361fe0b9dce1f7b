"""`prag narrow`: write the documents that a file of questions retrieves from a corpus, as a corpus of its own.

A corpus of millions of passages takes as many adapters; to score methods on some questions, only the documents that these
questions retrieve are needed. With `retrieval.as_narrowed=true` they retrieve the same ones again from these documents alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.cli import start
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.corpus.writer import write_corpus
from prag_core.errors import ConfigError
from prag_core.questions.reader import load_questions
from prag_core.retrieval.narrow import narrow_corpus
from prag_core.terminal.streams import say

EXAMPLE = "prag narrow corpus.uri=psgs_w100.tsv.gz evaluate.questions=popQA.tsv evaluate.limit=300 --out corpus.jsonl"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser(
        "narrow", "Make a corpus of what a file of questions retrieves from a larger one.", EXAMPLE
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="The corpus to write: JSON lines, on any file system."
    )
    parser.add_argument(
        "--depth",
        type=int,
        metavar="K",
        help="Retrieve K documents for each question (default: retrieval.top_k).",
    )
    config, options = parse_settings(parser, argv)
    chosen = config.evaluate
    questions = load_questions(chosen.questions, chosen.limit, type=chosen.type, format=chosen.format)
    depth = config.retrieval.top_k if options.depth is None else options.depth
    if depth < 1:
        raise ConfigError(f"--depth {depth}: expected at least 1 document a question")
    narrowed = narrow_corpus(
        config.corpus, [question.question for question in questions], config.retrieval, depth
    )
    write_corpus(narrowed.documents, options.out)
    say(f"{options.out}: {narrowed.summary()}")
    return 0


if __name__ == "__main__":
    sys.exit(start("narrow", *sys.argv[1:]))
