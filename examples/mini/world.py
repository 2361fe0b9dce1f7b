"""The miniature world: fictional people, places and works, the passages about them, and questions with answers.

Promise: everything is a function of the `Random` that is passed in; a world's references hold (a person's birthplace is
a place of the world, a work's creator a person of it); a passage names its subject fully in its first sentence and is 50 to 80
words long unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from examples.mini import names, phrases

OCCUPATIONS = names.words(
    "baker barber blacksmith botanist brewer bookbinder butcher carpenter cartographer chemist clockmaker composer "
    "dancer diplomat doctor farmer fisherman gardener geologist glazier goldsmith judge lawyer librarian locksmith "
    "mason merchant miner musician nurse painter philosopher pilot poet potter printer sailor sculptor singer soldier "
    "surgeon tailor teacher translator weaver"
)
COUNTRIES = names.words(
    "Avelia Borania Cordova Dalmara Estavia Fenlund Galdor Hespera Istria Jorvia Kelmark Lorvania Mirandia Norvela "
    "Ostland Pelagia Quilonia Rovania Selvia Tarkany Umbria Valdoria Westria Yorland Zembla Arcady Belmark Caldonia "
    "Drusia Elbonia"
)
PRODUCTS = names.words(
    "amber apples barley butter candles cheese cherries cider clocks cloth coal copper cotton flax furs garlic glass "
    "grapes gunpowder herring honey hops horses iron lace leather lemons linen marble mustard olives oranges oysters "
    "paper pearls pears pepper plums porcelain rope salt silk silver soap tea timber tin tobacco walnuts wheat wine "
    "wool"
)
FORMS = names.words(
    "ballet ballad cantata comedy drama fable film mural musical novel opera painting play sculpture sonata symphony"
)
PERSON_VALUED = frozenset({"teacher", "spouse", "founder", "creator", "hero", "dedicatee"})
MIN_WORDS = 50
NUM_FACTS = 6


@dataclass(frozen=True)
class Entity:
    """A person, a place or a work, with facts (relation -> value)."""

    kind: str
    name: str
    facts: dict[str, str]

    @property
    def short(self) -> str:
        """A person's last name; otherwise the name."""
        return self.name.split()[-1] if self.kind == "person" else self.name


@dataclass(frozen=True)
class Question:
    """A question, its answer as the model says it, the entities it needs, and a chain of sentences that leads there."""

    text: str
    answer: str
    type: str
    relation: str
    needs: tuple[Entity, ...]
    chain: str


@dataclass(frozen=True)
class World:
    """Entities that may refer to each other; `by_name` finds one."""

    entities: tuple[Entity, ...]

    @property
    def by_name(self) -> dict[str, Entity]:
        return {entity.name: entity for entity in self.entities}

    def of_kind(self, kind: str) -> list[Entity]:
        return [entity for entity in self.entities if entity.kind == kind]


def draw_world(
    rng: Random, num_people: int, num_places: int, num_works: int, variety: int | None = None
) -> World:
    """Draw fresh entities; birthplaces and settings are the world's places, creators its people, where it has any.

    `variety` limits how many occupations, countries and forms there are, so that entities share them often.
    """
    towns = [names.place_name(rng) for _ in range(num_places)]
    people = [names.person_name(rng) for _ in range(num_people)]
    works = [names.work_name(rng) for _ in range(num_works)]
    jobs, countries, forms = (
        rng.sample(pool, variety or len(pool)) for pool in (OCCUPATIONS, COUNTRIES, FORMS)
    )
    entities = [_draw_place(rng, name, countries) for name in towns]
    entities += [_draw_person(rng, name, jobs, towns) for name in people]
    entities += [_draw_work(rng, name, forms, towns, people) for name in works]
    return World(tuple(entities))


def _keep(rng: Random, facts: dict[str, str], always: Sequence[str]) -> dict[str, str]:
    """Choose six of the facts, those in `always` among them."""
    others = [relation for relation in facts if relation not in always]
    kept = {*always, *rng.sample(others, NUM_FACTS - len(always))}
    return {relation: value for relation, value in facts.items() if relation in kept}


def _draw_person(rng: Random, name: str, jobs: Sequence[str], towns: Sequence[str]) -> Entity:
    facts = {
        "born": str(rng.randint(1700, 1999)),
        "birthplace": rng.choice(towns) if towns else names.place_name(rng),
        "occupation": rng.choice(jobs),
        "teacher": names.person_name(rng),
        "spouse": names.person_name(rng),
        "employer": names.named_thing(rng, names.INSTITUTIONS),
        "award": names.named_thing(rng, names.AWARDS),
    }
    return Entity("person", name, _keep(rng, facts, ("born", "birthplace", "occupation")))


def _draw_place(rng: Random, name: str, countries: Sequence[str]) -> Entity:
    facts = {
        "country": rng.choice(countries),
        "river": names.proper_word(rng),
        "founded": str(rng.randint(1100, 1699)),
        "founder": names.person_name(rng),
        "elevation": str(rng.randint(100, 999)),
        "product": rng.choice(PRODUCTS),
        "landmark": names.named_thing(rng, names.LANDMARKS),
    }
    return Entity("place", name, _keep(rng, facts, ("country", "founded")))


def _draw_work(
    rng: Random, name: str, forms: Sequence[str], towns: Sequence[str], people: Sequence[str]
) -> Entity:
    facts = {
        "form": rng.choice(forms),
        "creator": rng.choice(people) if people else names.person_name(rng),
        "year": str(rng.randint(1700, 1999)),
        "setting": rng.choice(towns) if towns else names.place_name(rng),
        "hero": names.person_name(rng),
        "publisher": names.named_thing(rng, names.PUBLISHERS),
        "dedicatee": names.person_name(rng),
    }
    return Entity("work", name, _keep(rng, facts, ("form", "creator", "year", "setting")))


def state(rng: Random, entity: Entity, relation: str, subject: str | None = None) -> str:
    """Write one sentence that states a fact."""
    template = rng.choice(phrases.RELATIONS[entity.kind][relation].statements)
    return template.format(s=subject or entity.name, v=entity.facts[relation])


def some_facts(rng: Random, entity: Entity, count: int) -> Entity:
    """Return the same entity with only `count` of its facts, in random order."""
    return Entity(
        entity.kind, entity.name, {r: entity.facts[r] for r in rng.sample(list(entity.facts), count)}
    )


def write_passage(rng: Random, entity: Entity, min_words: int = MIN_WORDS) -> str:
    """Write the facts in random order, filled up to `min_words` with sentences that state no fact."""
    return tell(rng, some_facts(rng, entity, len(entity.facts)), min_words)


def tell(rng: Random, entity: Entity, min_words: int = MIN_WORDS) -> str:
    """Write the facts in the entity's own order, filled up likewise."""
    sentences = [state(rng, entity, r, _subject(rng, entity, i)) for i, r in enumerate(entity.facts)]
    fillers = list(phrases.FILLERS[entity.kind])
    rng.shuffle(fillers)
    while len(" ".join(sentences).split()) < min_words:
        sentence = fillers.pop().format(s=_subject(rng, entity, 1))
        sentences.insert(rng.randint(1, len(sentences)), sentence)
    return " ".join(sentences)


def _subject(rng: Random, entity: Entity, index: int) -> str:
    return entity.short if index and rng.random() < 0.4 else entity.name


def ask_single(rng: Random, entity: Entity, wording: str, relation: str | None = None) -> Question:
    """Ask for one fact of one entity; `wording` is "augmentation", "reading" or "any"."""
    relation = relation or rng.choice(list(entity.facts))
    text = _wording(rng, entity.kind, relation, wording).format(s=entity.name)
    return Question(text, entity.facts[relation], "single", relation, (entity,), state(rng, entity, relation))


def _wording(rng: Random, kind: str, relation: str, wording: str) -> str:
    phrasing = phrases.RELATIONS[kind][relation]
    choices = {
        "augmentation": phrasing.augmentation,
        "reading": phrasing.reading,
        "any": phrasing.augmentation + phrasing.reading,
    }
    return rng.choice(choices[wording])


def ask_bridge(rng: Random, world: World, entity: Entity, wording: str) -> Question | None:
    """Ask for a fact of an entity that the question describes only through `entity`; None where `entity` has no link."""
    index = world.by_name
    links = [r for kind, r in phrases.BRIDGES if kind == entity.kind and entity.facts.get(r) in index]
    if not links:
        return None
    link = rng.choice(links)
    second = index[entity.facts[link]]
    _, descriptions = phrases.BRIDGES[entity.kind, link]
    relation = rng.choice(list(second.facts))
    template = _wording(rng, second.kind, relation, wording)
    text = template.format(s=rng.choice(descriptions).format(s=entity.name))
    text = text[0].upper() + text[1:]
    chain = f"{state(rng, entity, link)} {state(rng, second, relation)}"
    return Question(text, second.facts[relation], "bridge", relation, (entity, second), chain)


def ask_order(rng: Random, a: Entity, b: Entity) -> Question | None:
    """Ask which of two came first or last; None for equal years or different kinds."""
    if a.kind != b.kind:
        return None
    ((_, relation), wordings) = next(item for item in phrases.ORDER.items() if item[0][0] == a.kind)
    if a.facts[relation] == b.facts[relation]:
        return None
    late = rng.randrange(2)
    text = rng.choice(wordings[late]).format(a=a.name, b=b.name)
    first, last = sorted((a, b), key=lambda entity: int(entity.facts[relation]))
    chain = f"{state(rng, a, relation)} {state(rng, b, relation)}"
    return Question(text, (first, last)[late].name, "comparison", relation, (a, b), chain)


def ask_same(rng: Random, a: Entity, b: Entity) -> Question | None:
    """Ask whether two entities of a kind share a value; the answer is yes or no."""
    if a.kind != b.kind:
        return None
    relation, wordings = rng.choice([(r, w) for (kind, r), w in phrases.SAME.items() if kind == a.kind])
    answer = "yes" if a.facts[relation] == b.facts[relation] else "no"
    chain = f"{state(rng, a, relation)} {state(rng, b, relation)}"
    text = rng.choice(wordings).format(a=a.name, b=b.name)
    return Question(text, answer, "comparison", relation, (a, b), chain)


def aliases(question: Question) -> list[str]:
    """Return the answers to accept, the full one first: a person's last name, a river with its class, a height with its unit."""
    answer = question.answer
    if question.type != "comparison" and question.relation in PERSON_VALUED:
        return [answer, answer.split()[-1]]
    longer = {"river": f"River {answer}", "elevation": f"{answer} metres"}
    return [answer, longer[question.relation]] if question.relation in longer else [answer]
