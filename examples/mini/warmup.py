"""Questions to warm up on, about subjects of the miniature world that are in no corpus.

    python -m examples.mini.warmup 2000 > out/warmup.jsonl

writes so many, the same every time, in the phrasings that the model writes itself: about the 200 entities that it knows by
heart. With `--strangers` they are about entities that it has never heard of, so that only the form of an answer can be learned.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from random import Random

from examples.mini import data, world
from examples.mini.data import Row


def warmup_questions(strangers: bool = False) -> Iterator[Row]:
    """Yield a question about one fact after the other; no wording twice."""
    rng = Random(f"{data.SEED}-warmup-{'strangers' if strangers else 'known'}")
    entities, asked = data.known_world().entities, set[str]()
    number = 0
    while True:
        source = world.draw_world(rng, 1, 1, 1).entities if strangers else entities
        question = world.ask_single(rng, rng.choice(source), "augmentation")
        if question.text not in asked:
            asked.add(question.text)
            answers = world.aliases(question)
            yield {
                "question_id": f"warmup-{number:04d}",
                "question": question.text,
                "answers": answers,
                "type": "single",
            }
            number += 1


def main() -> None:
    count, *options = sys.argv[1:]
    for _, row in zip(range(int(count)), warmup_questions("--strangers" in options), strict=False):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
