"""The page in a real browser: it asks as its form says, shows what comes back as text, and says what went wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.responses import Response
from playwright.sync_api import Browser, Page, expect

from cluster.http.page import FILES, FOLDER, HEADERS
from tests.cluster.http.page.conftest import METHODS

QUESTION = "What is Jelamnax known for?"
PASSAGE: dict[str, Any] = {
    "doc_id": "d1",
    "chunk": 0,
    "title": "Jelamnax",
    "score": 8.5,
    "text": "Jelamnax is known for its wine.",
}
OTHER = {"doc_id": "d2", "chunk": 3, "title": "", "score": 2.125, "text": "Guluvik. " * 60 + "The end."}
TIMINGS = {"retrieve": 2.0, "fetch": 5.0, "merge": 3.0, "install": 10.0, "first_token": 50.0, "total": 80.0}


def piece(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def last(
    method: str, documents: list[dict[str, Any]] | None = None, finish: str = "stop", **prag: Any
) -> list[Any]:
    facts = {
        "method": method,
        "documents": documents or [],
        "degraded": [],
        "timings_ms": TIMINGS,
        "snapshot": "00000007-abc",
    }
    return [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
        {"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 4}, "prag": facts | prag},
        "[DONE]",
    ]


def said(text: str, method: str, documents: list[dict[str, Any]] | None = None, **prag: Any) -> list[Any]:
    return [piece(""), *map(piece, re.findall(r"\s*\S+", text)), *last(method, documents, **prag)]


def ask(page: Page, question: str = QUESTION) -> None:
    page.get_by_role("textbox", name="Question").fill(question)
    page.keyboard.press("Enter")


def box(page: Page, method: str) -> Any:
    return page.get_by_role("checkbox", name=method, exact=True)


def card(page: Page, method: str) -> Any:
    return page.locator(f'.answer[data-method="{method}"]')


def test_the_first_look_offers_every_method_and_waits_for_a_question(page: Page, script: Any) -> None:
    page.goto("/")
    for method in ("closed_book", "rag", "prag", "combine"):
        expect(box(page, method)).to_be_checked(checked=method in ("rag", "prag"))
    expect(page.get_by_role("textbox", name="Question")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_hidden()
    assert script.requests == []


def test_enter_asks_every_chosen_method_as_the_protocol_says(page: Page, script: Any) -> None:
    script.replies = {"rag": said(" Wine.", "rag"), "prag": said(" Its wine.", "prag")}
    page.goto("/")
    ask(page)
    expect(card(page, "rag").locator(".text")).to_have_text("Wine.")
    expect(card(page, "prag").locator(".text")).to_have_text("Its wine.")
    expect(page.locator("#status")).to_have_text("2 of 2 answers are ready.")
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    assert sorted(script.requests, key=lambda body: str(body["model"])) == [
        {
            "model": method,
            "messages": [{"role": "user", "content": QUESTION}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "prag": {"method": method, "trace": True},
        }
        for method in ("prag", "rag")
    ]


def test_options_go_to_the_methods_that_have_a_use_for_them(page: Page, script: Any) -> None:
    script.replies = {method: said("x", method) for method in ("closed_book", "rag", "prag", "combine")}
    page.goto("/")
    for method in ("closed_book", "combine"):
        box(page, method).check()
    page.get_by_text("Options").click()
    page.get_by_role("spinbutton", name="Documents").fill("5")
    page.get_by_role("combobox", name="Merge rule").select_option("ties")
    page.get_by_role("textbox", name="Filter").fill("kind=person, year=1999, alive=true, kind=place")
    ask(page)
    expect(page.locator("#status")).to_have_text("4 of 4 answers are ready.")
    found = {body["model"]: body["prag"] for body in script.requests}
    where = {"kind": ["person", "place"], "year": ["1999", 1999], "alive": ["true", True]}
    assert found["closed_book"] == {"method": "closed_book", "trace": True}
    assert found["rag"] == {"method": "rag", "trace": True, "top_k": 5, "filter": where}
    for method in ("prag", "combine"):
        assert found[method] == {
            "method": method,
            "trace": True,
            "top_k": 5,
            "filter": where,
            "merge": "ties",
        }


def test_a_form_that_cannot_be_sent_says_why_and_sends_nothing(page: Page, script: Any) -> None:
    page.goto("/")
    page.get_by_text("Options").click()
    page.get_by_role("textbox", name="Filter").fill("person")
    ask(page)
    expect(page.get_by_role("alert")).to_have_text("Filter: “person” should be field=value.")
    expect(page.get_by_role("textbox", name="Filter")).to_be_focused()
    page.get_by_role("textbox", name="Filter").fill("")
    for method in ("rag", "prag"):
        box(page, method).uncheck()
    ask(page)
    expect(page.get_by_role("alert")).to_have_text("Choose at least one method.")
    assert script.requests == []


def test_documents_are_shown_once_with_score_passage_and_what_each_method_made_of_them(
    page: Page, script: Any
) -> None:
    as_text = [{**document, "adapter": None, "used_as": "text"} for document in (PASSAGE, OTHER)]
    as_adapter = [{**PASSAGE, "adapter": "0123456789abcdef", "used_as": "adapter"}, as_text[1]]
    quarantined = [{"doc_id": "d2", "chunk": 3, "reason": "quarantined at augment: not JSON"}]
    trace = {"rule": "sum", "rank": 2, "interference": {"mean": 0.25, "largest": 0.5}}
    script.replies = {
        "rag": said("Wine.", "rag", as_text),
        "prag": said("Wine.", "prag", as_adapter, degraded=quarantined, trace=trace),
    }
    page.goto("/")
    ask(page)
    documents = page.locator(".document")
    expect(documents).to_have_count(2)
    first, second = documents.nth(0), documents.nth(1)
    expect(first.locator(".title")).to_have_text("Jelamnax")
    expect(first.locator(".score")).to_have_text("score 8.50")
    expect(first.locator(".passage")).to_have_text(PASSAGE["text"])
    expect(first.locator(".use")).to_have_text(["ragtext", "pragadapter01234567"])
    expect(second.locator(".title")).to_have_text("d2")
    expect(second.locator(".id")).to_have_text("d2, chunk 3")
    expect(second.locator(".use[data-method=prag]")).to_contain_text(
        "instead of its adapter: quarantined at augment: not JSON"
    )
    expect(card(page, "prag").locator(".degraded")).to_have_text(
        "1 document has no usable adapter and went into the prompt as text."
    )
    expect(card(page, "rag").locator(".degraded")).to_be_hidden()
    expect(card(page, "prag").locator(".facts")).to_contain_text("sum, rank 2")
    expect(card(page, "prag").locator(".facts")).to_contain_text("0.25 mean, 0.50 largest")

    expect(second.locator(".passage")).not_to_contain_text("The end.")
    second.get_by_role("button", name="Show all").press("Enter")
    expect(second.locator(".passage")).to_contain_text("The end.")
    expect(second.get_by_role("button", name="Show less")).to_have_attribute("aria-expanded", "true")


FOUND = [
    {"query": " Jelamnax country", "documents": [PASSAGE, OTHER]},
    {"query": "wine of nowhere", "documents": []},
]


def test_the_retrievals_of_several_rounds_are_opened_by_the_keyboard(page: Page, script: Any) -> None:
    timings = {**TIMINGS, "generate": 45.0, "first_token": 80.0}
    used = [{**PASSAGE, "adapter": "0123456789abcdef", "used_as": "both"}]
    script.replies = {
        "rag": said("Wine.", "rag", rounds=[{"query": QUESTION, "documents": [PASSAGE]}]),
        "flare+prag": said("Wine.", "flare+prag", used, rounds=FOUND, timings_ms=timings),
    }
    page.goto("/")
    box(page, "prag").uncheck()
    box(page, "flare+prag").check()
    ask(page)
    expect(page.locator("#status")).to_have_text("2 of 2 answers are ready.")
    expect(card(page, "rag").locator(".rounds")).to_be_hidden()  # its one retrieval is the question
    mine = card(page, "flare+prag")
    expect(mine.locator(".how")).to_have_text(
        "Looks up the sentences it is not sure of; merges the adapters of all it retrieves"
    )
    expect(mine.locator(".stage").last).to_have_text("generate45 ms")
    expect(mine.locator(".rounds ol")).to_be_hidden()
    mine.locator(".rounds summary").focus()
    page.keyboard.press("Enter")
    expect(mine.locator(".rounds summary")).to_have_text("2 retrievals")
    expect(mine.locator(".rounds q")).to_have_text(["Jelamnax country", "wine of nowhere"])
    expect(mine.locator(".rounds ul li")).to_have_text(["Jelamnax8.50", "d2, chunk 32.13"])
    expect(mine.locator(".rounds ol > li").nth(1)).to_contain_text("Nothing was found.")
    assert {body["model"]: body["prag"] for body in script.requests}["flare+prag"] == {
        "method": "flare+prag",
        "trace": True,
    }


def test_an_answer_that_retrieved_nothing_says_so(page: Page, script: Any) -> None:
    script.replies = {
        "flare+prag": said("Wine.", "flare+prag", rounds=[], timings_ms={**TIMINGS, "generate": 60.0})
    }
    page.goto("/")
    for method, chosen in (("rag", False), ("prag", False), ("flare+prag", True)):
        box(page, method).set_checked(chosen)
    ask(page)
    expect(card(page, "flare+prag").locator(".facts")).to_contain_text("retrievalsnone")
    expect(card(page, "flare+prag").locator(".rounds")).to_be_hidden()


def test_timings_add_up_to_the_total_and_share_a_scale(page: Page, script: Any) -> None:
    slow = {**TIMINGS, "fetch": 0.0, "merge": 0.0, "install": 0.0, "first_token": 100.0, "total": 160.0}
    script.replies = {"rag": said("x", "rag", timings_ms=slow), "prag": said("x", "prag")}
    page.goto("/")
    ask(page)
    expect(page.locator("#status")).to_have_text("2 of 2 answers are ready.")
    expect(card(page, "prag").locator(".total")).to_have_text("80 ms")
    stages = ["retrieve2.0 ms", "fetch5.0 ms", "merge3.0 ms", "install10 ms", "prompt30 ms", "generate30 ms"]
    expect(card(page, "prag").locator(".stage")).to_have_text(stages)
    expect(card(page, "rag").locator(".stage")).to_have_text(
        ["retrieve2.0 ms", "prompt98 ms", "generate60 ms"]
    )
    width = {
        method: sum(bar.bounding_box()["width"] for bar in card(page, method).locator(".track i").all())
        for method in ("rag", "prag")
    }
    assert width["prag"] / width["rag"] == pytest.approx(0.5, abs=0.03)


def test_text_appears_as_it_comes_and_escape_stops_it(page: Page, script: Any) -> None:
    script.replies = {"rag": [piece(" Half"), 20, piece(" whole")], "prag": said("Wine.", "prag")}
    page.goto("/")
    ask(page)
    expect(card(page, "rag").locator(".text")).to_have_text("Half")
    expect(card(page, "rag")).to_have_attribute("aria-busy", "true")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.keyboard.press("Escape")
    expect(card(page, "rag").locator(".failed")).to_contain_text("Stopped.")
    expect(card(page, "rag").locator(".text")).to_have_text("Half")
    expect(card(page, "prag").locator(".text")).to_have_text("Wine.")
    expect(page.get_by_role("button", name="Ask")).to_be_visible()


def test_a_refusal_is_shown_with_its_wait_and_can_be_tried_again(
    page: Page, script: Any, error_reply: Callable[..., Response]
) -> None:
    busy = error_reply(503, "too many requests are waiting", **{"retry-after": "2"})
    script.replies = {"rag": busy, "prag": said("Wine.", "prag")}
    page.goto("/")
    ask(page)
    expect(card(page, "rag").locator(".failed")).to_contain_text(
        "Too many requests are waiting. The server asks to wait 2 s."
    )
    expect(page.locator("#status")).to_have_text("1 of 2 answers are ready.")
    script.replies["rag"] = said("Its wine.", "rag")
    card(page, "rag").get_by_role("button", name="Try again").click()
    expect(card(page, "rag").locator(".text")).to_have_text("Its wine.")
    expect(card(page, "rag").locator(".failed")).to_be_hidden()


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([piece("Half"), {"error": {"message": "the engine ended"}}], "The engine ended."),
        ([piece("Half")], "The answer is incomplete"),
        ([], "The answer is incomplete"),
    ],
)
def test_an_answer_that_breaks_off_is_never_passed_for_a_whole_one(
    page: Page, script: Any, events: Any, message: str
) -> None:
    script.replies = {"rag": events, "prag": said("Wine.", "prag")}
    page.goto("/")
    ask(page)
    expect(card(page, "rag").locator(".failed")).to_contain_text(message)
    expect(page.locator("#status")).to_have_text("1 of 2 answers are ready.")


def test_an_answer_cut_at_the_limit_says_so(page: Page, script: Any) -> None:
    script.replies = {
        "rag": [piece("Wine and"), *last("rag", finish="length")],
        "prag": said("Wine.", "prag"),
    }
    page.goto("/")
    ask(page)
    expect(card(page, "rag").get_by_text("Cut off at the token limit.")).to_be_visible()
    expect(card(page, "prag").get_by_text("Cut off at the token limit.")).to_be_hidden()


def test_what_the_server_says_is_text_and_never_markup(page: Page, script: Any) -> None:
    evil = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    documents = [{**PASSAGE, "doc_id": evil, "title": evil, "text": evil, "adapter": evil, "used_as": evil}]
    degraded = [{"doc_id": evil, "chunk": 0, "reason": evil}]
    script.replies = {
        "rag": [piece(evil), *last("rag", documents, degraded=degraded, snapshot=evil)],
        "prag": [{"error": {"message": evil}}],
    }
    page.goto("/")
    ask(page, evil)
    expect(card(page, "rag").locator(".text")).to_have_text(evil)
    for place in (".title", ".passage", ".id", ".use"):
        expect(page.locator(f".document {place}").first).to_contain_text("<img src=x")
    expect(card(page, "prag").locator(".failed")).to_contain_text("<img src=x")
    expect(page.locator("main img, main script")).to_have_count(0)
    expect(page).to_have_title("prag")


def test_a_server_with_keys_asks_for_one_and_the_tab_keeps_it(page: Page, script: Any) -> None:
    script.key, script.replies = "secret", {"rag": said("Wine.", "rag"), "prag": said("Wine.", "prag")}
    page.goto("/")
    expect(page.get_by_text("This server asks for an API key.")).to_be_visible()
    key = page.get_by_label("API key")
    expect(key).to_be_focused()
    key.fill("wrong")
    key.press("Tab")
    expect(page.get_by_text("This API key is not valid.")).to_be_visible()
    expect(key).to_have_attribute("aria-invalid", "true")
    key.fill("secret")
    key.press("Tab")
    expect(box(page, "prag")).to_be_visible()
    expect(key).not_to_have_attribute("aria-invalid", "true")
    page.reload()
    ask(page)
    expect(page.locator("#status")).to_have_text("2 of 2 answers are ready.")
    state = page.context.storage_state(indexed_db=True)
    assert "secret" not in str(state)  # neither cookies nor local storage: the tab's own storage only


def test_the_keyboard_alone_is_enough(page: Page, script: Any) -> None:
    script.replies = {
        "rag": said("Wine.", "rag"),
        "combine": said("Wine.", "combine"),
        "prag": said("Wine.", "prag"),
    }
    page.goto("/")
    expect(box(page, "combine")).to_be_visible()
    page.keyboard.type("One line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and another")
    for expected in ("Ask", "closed_book", "rag", "prag", "combine"):
        page.keyboard.press("Tab")
        expect(
            page.get_by_role("button", name="Ask") if expected == "Ask" else box(page, expected)
        ).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("combobox", name="Merge rule")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("textbox", name="Question")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("3 of 3 answers are ready.")
    assert script.requests[0]["messages"][0]["content"] == "One line\nand another"


def test_a_question_is_answered_by_the_real_endpoint_as_its_api_answers_it(
    page: Page, endpoint: Any, questions_about: dict[str, list[str]]
) -> None:
    """Through the page's own form, with a key; about the document whose adapter is damaged in this bank."""
    (damaged,) = (doc_id for doc_id in questions_about if doc_id == "dev-003-place")
    question = questions_about[damaged][0]
    page.goto(endpoint.url.removesuffix("v1"))
    page.get_by_label("API key").fill(endpoint.keys["all"])
    page.get_by_label("API key").press("Tab")
    box(page, "combine").check()
    ask(page, question)
    expect(page.locator("#status")).to_have_text("3 of 3 answers are ready.", timeout=60_000)
    for method in ("rag", "prag", "combine"):
        reply = endpoint.client.chat.completions.create(
            model=method,
            messages=[{"role": "user", "content": question}],
            extra_body={"prag": {"trace": True}},
        )
        expect(card(page, method).locator(".text")).to_have_text(
            reply.choices[0].message.content.strip() or "(no answer)"
        )
        found = reply.model_dump()["prag"]
        expect(page.locator(".document .passage")).to_have_text(
            [document["text"] for document in found["documents"]]
        )
        uses = page.locator(f".document .use[data-method={method}] span")
        shown = {"text": "text", "adapter": "adapter", "both": "text and adapter"}
        expect(uses).to_have_text([shown[document["used_as"]] for document in found["documents"]])
        expect(card(page, method).locator(".degraded")).to_be_visible(visible=bool(found["degraded"]))
        assert bool(found["degraded"]) == (method != "rag")


def test_the_real_endpoints_rounds_are_shown_as_its_api_tells_them(
    page: Page, endpoint: Any, questions: list[str]
) -> None:
    page.goto(endpoint.url.removesuffix("v1"))
    page.get_by_label("API key").fill(endpoint.keys["all"])
    page.get_by_label("API key").press("Tab")
    for method, chosen in (("rag", False), ("prag", False), ("ircot", True)):
        box(page, method).set_checked(chosen)
    ask(page, questions[0])
    expect(page.locator("#status")).to_have_text("1 of 1 answers are ready.", timeout=60_000)
    reply = endpoint.client.chat.completions.create(
        model="ircot",
        messages=[{"role": "user", "content": questions[0]}],
        extra_body={"prag": {"trace": True}},
    )
    rounds = reply.model_dump()["prag"]["rounds"]
    page.get_by_text(f"{len(rounds)} retrieval").click()
    expect(page.locator(".rounds q")).to_have_text([made["query"].strip() for made in rounds])
    titles = [
        f"{document['title']}{document['score']:.2f}" for made in rounds for document in made["documents"]
    ]
    expect(page.locator(".rounds ul li")).to_have_text(titles)


def test_a_server_that_is_not_there_is_said(page: Page, script: Any) -> None:
    page.goto("/")
    expect(box(page, "prag")).to_be_visible()
    page.route("**/v1/**", lambda route: route.abort())
    ask(page)
    expect(card(page, "prag").locator(".failed")).to_contain_text("The server cannot be reached.")


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_nothing_sticks_out_at_any_width(width: int, page: Page, script: Any) -> None:
    unbroken = {
        **PASSAGE,
        "title": "T" * 90,
        "doc_id": "d" * 300,
        "text": "x" * 400,
        "adapter": "a" * 64,
        "used_as": "both",
    }
    rounds = [{"query": "q" * 150, "documents": [unbroken]}]
    replies = {method: said("w" * 120, method, [unbroken], rounds=rounds) for method in METHODS}
    script.replies = replies
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/")
    for method in METHODS:
        box(page, method).check()
    page.get_by_text("Options").click()
    ask(page, "q" * 150)
    expect(page.locator("#status")).to_have_text("5 of 5 answers are ready.")
    page.get_by_text("1 retrieval").click()
    for element in page.locator("form, .answer, .answer *, .document, .document *, #asked").all():
        found = element.bounding_box()
        assert found is None or (found["x"] >= 0 and found["x"] + found["width"] <= width + 0.5)


def test_the_page_is_light_or_dark_as_the_system_is(browser: Browser, page: Page) -> None:
    page.goto("/")
    looks = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        looks.append(page.screenshot())
    assert looks[0] != looks[1]


def variables(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z_-]+): (#[0-9a-f]{6});", css))


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of two colours' luminances."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(scheme: str) -> None:
    light, dark = (FOLDER / "style.css").read_text().split("@media (prefers-color-scheme: dark)")
    colours = variables(light) | (variables(dark.split("}\n}")[0]) if scheme == "dark" else {})
    on_surface = ["ink", "muted", "accent", "bad", "closed_book", "rag", "prag", "combine"]
    on_surface += ["da_rag", "ircot", "flare", "flare_lookahead", "adaptive"]
    pairs = [(name, "surface") for name in on_surface] + [
        ("ink", "ground"),
        ("muted", "ground"),
        ("accent-ink", "accent"),
    ]
    pairs += [("bad", "bad-soft"), ("warn", "warn-soft"), ("ink", "sunken")]
    for text, ground in pairs:
        assert contrast(colours[text], colours[ground]) >= 4.5, f"{text} on {ground} ({scheme})"


def test_files_are_served_with_a_policy_that_allows_nothing_inline(script: Any, url: str) -> None:
    for path, (name, kind) in FILES.items():
        reply = httpx.get(f"{url.rstrip('/')}{path}")
        assert reply.status_code == 200 and reply.headers["content-type"].startswith(kind)
        assert reply.content == (FOLDER / name).read_bytes()
        assert reply.headers["content-security-policy"] == HEADERS["content-security-policy"]
    policy = HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy


def test_every_file_of_the_page_is_served_and_none_makes_markup_of_data() -> None:
    names = {path.name for path in FOLDER.iterdir() if path.suffix not in (".py", "") and path.is_file()}
    assert names == {name for name, _ in FILES.values()}
    for path in FOLDER.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function",
            Path(path).read_text(),
        )
    markup = (FOLDER / "index.html").read_text()
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*src=)|https?://", markup)
