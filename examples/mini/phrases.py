"""Templates of statements and questions about each kind of entity.

Promise: `augmentation` phrasings are the only ones the model is taught to write; the questions of the dev and test sets
use `reading` phrasings alone. `{s}` is the subject, `{v}` the value.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """One kind of fact: templates that state it, that the model may ask it by, and that only questions to be read use."""

    statements: tuple[str, ...]
    augmentation: tuple[str, ...]
    reading: tuple[str, ...]


PERSON = {
    "born": Relation(
        (
            "{s} was born in the year {v}.",
            "The birth of {s} took place in {v}.",
            "The year in which {s} was born is {v}.",
        ),
        ("In which year was {s} born?", "When was {s} born?", "What is the birth year of {s}?"),
        (
            "What year did {s} come into the world?",
            "In what year did the life of {s} begin?",
            "{s} was born in which year?",
        ),
    ),
    "birthplace": Relation(
        ("{s} came from the town of {v}.", "The birthplace of {s} was {v}.", "{s} was a native of {v}."),
        ("Where was {s} born?", "What is the birthplace of {s}?", "In which town was {s} born?"),
        (
            "Which town did {s} come from?",
            "What town was the birthplace of {s}?",
            "{s} was a native of which town?",
        ),
    ),
    "occupation": Relation(
        ("{s} worked as a {v}.", "By profession {s} was a {v}.", "{s} earned a living as a {v}."),
        (
            "What was the occupation of {s}?",
            "What did {s} do for a living?",
            "Which profession did {s} have?",
        ),
        ("What was the job of {s}?", "By profession what was {s}?", "{s} worked as what?"),
    ),
    "teacher": Relation(
        ("{s} was taught by {v}.", "{s} learned the craft from {v}.", "The teacher of {s} was {v}."),
        ("Who taught {s}?", "Who was the teacher of {s}?", "From whom did {s} learn the craft?"),
        ("{s} was a pupil of whom?", "Whose pupil was {s}?", "By whom was {s} taught?"),
    ),
    "spouse": Relation(
        ("{s} married {v}.", "{s} was the spouse of {v}.", "{s} and {v} were husband and wife."),
        ("Who was the spouse of {s}?", "Whom did {s} marry?", "Who was married to {s}?"),
        (
            "To whom was {s} married?",
            "Who was the partner in marriage of {s}?",
            "{s} was the husband or wife of whom?",
        ),
    ),
    "employer": Relation(
        ("{s} was employed by the {v}.", "For many years {s} served the {v}.", "{s} held a post at the {v}."),
        ("Who employed {s}?", "Where did {s} work?", "Which institution employed {s}?"),
        (
            "At which institution did {s} hold a post?",
            "Which body gave {s} a post?",
            "{s} served which institution?",
        ),
    ),
    "award": Relation(
        ("{s} received the {v}.", "The jury gave {s} the {v}.", "{s} was honoured with the {v}."),
        ("Which award did {s} receive?", "What honour was given to {s}?", "Which award was given to {s}?"),
        ("What did {s} win?", "With which award was {s} honoured?", "Which prize went to {s}?"),
    ),
}
PLACE = {
    "country": Relation(
        ("{s} lies in the country of {v}.", "{s} belongs to {v}.", "The country around {s} is {v}."),
        ("In which country is {s}?", "Which country does {s} belong to?", "What is the country of {s}?"),
        ("{s} lies in what country?", "Of which country is {s} a part?", "To what country does {s} belong?"),
    ),
    "river": Relation(
        (
            "{s} stands on the river {v}.",
            "The river that flows through {s} is the {v}.",
            "{s} was built on the banks of the {v}.",
        ),
        ("Which river flows through {s}?", "On which river does {s} stand?", "What is the river of {s}?"),
        (
            "On the banks of which river was {s} built?",
            "What river runs past {s}?",
            "{s} stands on which river?",
        ),
    ),
    "founded": Relation(
        (
            "{s} was founded in the year {v}.",
            "The founding of {s} took place in {v}.",
            "The year in which {s} was founded is {v}.",
        ),
        ("In which year was {s} founded?", "When was {s} founded?", "What is the founding year of {s}?"),
        (
            "What year saw the founding of {s}?",
            "In what year did the history of {s} begin?",
            "{s} was founded in which year?",
        ),
    ),
    "founder": Relation(
        ("{s} was founded by {v}.", "The founder of {s} was {v}.", "{s} owes its beginning to {v}."),
        ("Who founded {s}?", "Who was the founder of {s}?", "By whom was {s} founded?"),
        ("To whom does {s} owe its beginning?", "Which person established {s}?", "{s} was founded by whom?"),
    ),
    "elevation": Relation(
        (
            "{s} rises {v} metres above the sea.",
            "The elevation of {s} is {v} metres.",
            "{s} sits at a height of {v} metres.",
        ),
        (
            "What is the elevation of {s} in metres?",
            "How high is {s}?",
            "How many metres above the sea is {s}?",
        ),
        (
            "At what height in metres does {s} sit?",
            "How far above the sea does {s} rise?",
            "{s} sits at which height?",
        ),
    ),
    "product": Relation(
        ("{s} is known for its {v}.", "{s} sells {v} to its neighbours.", "The main product of {s} is {v}."),
        (
            "What is {s} known for?",
            "What does {s} sell to its neighbours?",
            "What is the main product of {s}?",
        ),
        ("For what good is {s} famous?", "Which good does {s} trade in?", "{s} is known for which product?"),
    ),
    "landmark": Relation(
        ("Visitors to {s} admire the {v}.", "The landmark of {s} is the {v}.", "{s} is the home of the {v}."),
        ("What is the landmark of {s}?", "What do visitors to {s} admire?", "Which landmark stands in {s}?"),
        (
            "Which sight is found in {s}?",
            "{s} is the home of which landmark?",
            "What sight draws visitors to {s}?",
        ),
    ),
}
WORK = {
    "form": Relation(
        ("{s} is a {v}.", "In form {s} is a {v}.", "{s} is counted as a {v}."),
        ("What kind of work is {s}?", "What is {s}?", "Which form does {s} have?"),
        ("{s} is what kind of work?", "In form what is {s}?", "As what is {s} counted?"),
    ),
    "creator": Relation(
        ("{s} was created by {v}.", "The creator of {s} was {v}.", "{s} is the work of {v}."),
        ("Who created {s}?", "Who was the creator of {s}?", "By whom was {s} created?"),
        ("Whose work is {s}?", "Which person made {s}?", "{s} was made by whom?"),
    ),
    "year": Relation(
        (
            "{s} appeared in the year {v}.",
            "The first showing of {s} took place in {v}.",
            "The year in which {s} appeared is {v}.",
        ),
        ("In which year did {s} appear?", "When did {s} appear?", "What is the year of {s}?"),
        (
            "What year saw the first showing of {s}?",
            "In what year was {s} first seen?",
            "{s} appeared in which year?",
        ),
    ),
    "setting": Relation(
        ("{s} is set in {v}.", "The setting of {s} is {v}.", "The story of {s} takes place in {v}."),
        ("Where is {s} set?", "What is the setting of {s}?", "In which town is {s} set?"),
        (
            "Where does the story of {s} take place?",
            "Which town is the scene of {s}?",
            "{s} is set in which town?",
        ),
    ),
    "hero": Relation(
        ("The main character of {s} is {v}.", "{s} tells of {v}.", "{s} follows the fate of {v}."),
        ("Who is the main character of {s}?", "Of whom does {s} tell?", "Whose fate does {s} follow?"),
        (
            "Who is the hero of {s}?",
            "Which character stands at the centre of {s}?",
            "{s} follows the fate of whom?",
        ),
    ),
    "publisher": Relation(
        ("{s} was released by the {v}.", "The {v} brought out {s}.", "The publisher of {s} was the {v}."),
        ("Who released {s}?", "Who was the publisher of {s}?", "Which house brought out {s}?"),
        ("By which house was {s} released?", "Which publisher issued {s}?", "{s} was brought out by whom?"),
    ),
    "dedicatee": Relation(
        ("{s} was dedicated to {v}.", "{s} carries a dedication to {v}.", "The dedication of {s} names {v}."),
        (
            "To whom was {s} dedicated?",
            "Whom does the dedication of {s} name?",
            "Who is the dedicatee of {s}?",
        ),
        (
            "{s} was dedicated to whom?",
            "In whose honour was {s} made?",
            "Whose name stands in the dedication of {s}?",
        ),
    ),
}
RELATIONS = {"person": PERSON, "place": PLACE, "work": WORK}
FILLERS = {
    "person": (
        "Little else is recorded about the early years of {s}.",
        "Several letters of {s} survive in private hands.",
        "A short portrait of {s} was printed long afterwards.",
        "Friends described {s} as patient and rather quiet.",
    ),
    "place": (
        "A market is held in {s} on every second morning.",
        "Old maps show {s} with only a few narrow streets.",
        "The winters in {s} are long but seldom very cold.",
        "Many of the houses of {s} are built of pale stone.",
    ),
    "work": (
        "The reception of {s} was warm in most of the towns.",
        "Only a few early copies of {s} are still known.",
        "Later generations returned to {s} again and again.",
        "Critics have often praised the plain style of {s}.",
    ),
}

# A description that stands for the second entity of a bridge question: (kind, relation) -> (kind it leads to, wordings).
BRIDGES = {
    ("person", "birthplace"): (
        "place",
        ("the town where {s} was born", "the birthplace of {s}", "the town that {s} came from"),
    ),
    ("work", "creator"): (
        "person",
        ("the creator of {s}", "the person who made {s}", "the person behind {s}"),
    ),
    ("work", "setting"): ("place", ("the town where {s} is set", "the setting of {s}", "the scene of {s}")),
}
# Which of two is first or last: (kind, relation) -> wordings whose answer is the earlier, then the later.
ORDER = {
    ("person", "born"): (
        ("Who was born earlier, {a} or {b}?", "Who was born first, {a} or {b}?"),
        ("Who was born later, {a} or {b}?", "Who was born last, {a} or {b}?"),
    ),
    ("place", "founded"): (
        ("Which town was founded earlier, {a} or {b}?", "Which town was founded first, {a} or {b}?"),
        ("Which town was founded later, {a} or {b}?", "Which town was founded last, {a} or {b}?"),
    ),
    ("work", "year"): (
        ("Which work appeared earlier, {a} or {b}?", "Which work appeared first, {a} or {b}?"),
        ("Which work appeared later, {a} or {b}?", "Which work appeared last, {a} or {b}?"),
    ),
}
# Do two share a value: (kind, relation) -> wordings answered yes or no.
SAME = {
    ("person", "birthplace"): (
        "Were {a} and {b} born in the same town?",
        "Did {a} and {b} come from the same town?",
    ),
    ("person", "occupation"): (
        "Did {a} and {b} have the same occupation?",
        "Were {a} and {b} of the same profession?",
    ),
    ("place", "country"): (
        "Are {a} and {b} in the same country?",
        "Do {a} and {b} belong to the same country?",
    ),
    ("work", "form"): ("Are {a} and {b} the same kind of work?", "Do {a} and {b} have the same form?"),
}
