"""The page: what it shows, that it is well-formed, loads nothing, and stays small."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from kpo.common.text import number
from kpo.diagnosis import gallery as rooms
from kpo.diagnosis.effect import look, padded
from kpo.diagnosis.figures import diagnose
from kpo.diagnosis.gallery import EACH, LEVELS, WINDOW, Gallery, exhibit
from kpo.diagnosis.page import page
from kpo.diagnosis.responses import Response
from kpo.registry import make_objective, usual_objectives
from tests.kpo.diagnosis.made import response

VOID = {"meta", "link", "br", "img", "input", "hr"}
METHODS = {"grpo": make_objective("grpo"), "kpo": make_objective("kpo", q=0.5)}


class Page(HTMLParser):
    """Elements with their attributes and texts; tags must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[dict[str, str]] = []
        self.elements: list[dict[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {"tag": tag, "text": "", **{key: value or "" for key, value in attrs}}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [element for element in self.elements if element["tag"] == tag]


def responses(count: int = 70, seed: int = 0, longest: int = 12) -> list[Response]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        z = rng.normal(0, 0.2, rng.integers(1, longest))
        texts = [f"<b>{t}&'\"" for t in range(len(z))]
        made.append(response(z.tolist(), rng.normal(), where=f"row {i}", tokens=texts))
    return made


def looked_at(rows: list[Response]) -> Gallery:
    gallery = Gallery()
    for one in rows:
        gallery.add(one)
    return gallery


def written(rows: list[Response], place: str = "a<b>.parquet") -> str:
    found = diagnose(rows, METHODS)
    return page(Path(place), {"present": "logprobs"}, found, looked_at(rows), METHODS)


def sizes(rows: list[Response]) -> list[float]:
    return [float(np.abs(one.log_ratio).max()) for one in rows]


def test_the_largest_and_some_at_random_are_chosen() -> None:
    rows = responses(300)
    chosen = looked_at(rows).chosen()
    largest = [one for why, one in chosen if why == "largest |z|"]
    assert sizes(largest) == sorted(sizes(rows), reverse=True)[:EACH]
    drawn = [one for why, one in chosen if why == "at random"]
    assert EACH // 2 < len(drawn) <= EACH
    places = [int(one.where.split()[1]) for one in drawn]
    assert places == sorted(places)
    assert min(places) < 100
    assert max(places) > 200
    assert len({one.where for _, one in chosen}) == len(chosen)
    assert [one.where for _, one in looked_at(rows).chosen()] == [one.where for _, one in chosen]


def test_few_responses_are_all_shown_once() -> None:
    rows = responses(5)
    rows[3] = response(rows[1].log_ratio.tolist(), 1.0, where="the same z")
    assert len(looked_at(rows).chosen()) == 5


def test_tokens_are_shown_with_what_the_methods_make_of_them() -> None:
    rows = responses(3)
    shown = exhibit(looked_at(rows), METHODS)
    z = np.concatenate([one.log_ratio for one in rows])
    assert shown.scales[0] == pytest.approx(np.quantile(np.abs(z), 0.95))
    for one in shown.shown:
        batches = padded([one.response])
        x = look(METHODS["kpo"], batches)[0].log_ratio[0]
        assert [token.raw for token in one.tokens] == one.response.log_ratio.tolist()
        assert [token.filtered for token in one.tokens] == x.tolist()
        for i, method in enumerate(METHODS.values()):
            gone = look(method, batches)[2][0].tolist()
            assert [i in token.dropped for token in one.tokens] == gone
        for token in one.tokens:
            levels = zip((token.raw, token.filtered), shown.scales, token.levels, strict=True)
            for value, scale, level in levels:
                assert level == LEVELS + round(LEVELS * max(-1, min(1, value / scale)))


def test_of_a_long_response_the_largest_log_ratio_is_shown() -> None:
    z = [0.01] * (3 * WINDOW)
    for place, first in ((0, 0), (1000, 1000 - WINDOW // 2), (len(z) - 1, len(z) - WINDOW)):
        z[place] = -0.7
        (one,) = exhibit(looked_at([response(z, 1.0)]), METHODS).shown
        assert (one.first, len(one.tokens)) == (first, WINDOW)
        assert one.tokens[place - first].raw == pytest.approx(-0.7)
        assert one.tokens[place - first].text == str(place)  # as there are no texts
        z[place] = 0.01


def test_without_a_proposed_method_the_paper_s_filter_is_shown() -> None:
    name, objective = rooms.filtering({"grpo": METHODS["grpo"]})
    assert (name, objective) == ("kpo, q 1e-6", make_objective("kpo", q=1e-6))
    assert rooms.filtering(METHODS) == ("kpo", METHODS["kpo"])


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    text = written(responses())
    parsed = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert not {"link", "img", "iframe", "object"} & {one["tag"] for one in parsed.elements}
    assert not any({"src", "href"} & one.keys() for one in parsed.elements)
    assert not re.search(r"url\(|@import|https?:", text)
    policy = next(one["content"] for one in parsed.of("meta") if "http-equiv" in one)
    assert "default-src 'none'" in policy
    ids = [one["id"] for one in parsed.elements if "id" in one]
    assert len(ids) == len(set(ids))


def test_the_page_holds_the_figures_and_the_tokens() -> None:
    rows = responses()
    parsed = Page(written(rows))
    assert parsed.of("h1")[0]["text"] == "Rollouts of a<b>.parquet"
    (found,) = diagnose(rows, METHODS)
    cells = [one["text"] for one in parsed.of("td")]
    for value in (found.structure["measured"]["acf_1"], found.effects["grpo"]["gradient_dropped"]):
        assert number(value, 3) in cells
    shown = exhibit(looked_at(rows), METHODS).shown
    tokens = [token for one in shown for token in one.tokens]
    assert [one["text"] for one in parsed.of("i")] == [token.text for token in tokens]
    for element, token in zip(parsed.of("i"), tokens, strict=True):
        raw, filtered, *dropped = element["class"].split()
        assert (raw, filtered) == (f"r{token.levels[0]}", f"f{token.levels[1]}")
        assert dropped == [f"m{i}" for i in token.dropped]
        assert f": {number(token.raw, 3)}, filtered " in element["title"]
    style = parsed.of("style")[0]["text"]
    rule = r'\[data-method="0"\] \.m0,\s*\[data-method="1"\] \.m1 { text-decoration: underline'
    assert re.search(rule, style)
    options = [one["text"] for one in parsed.of("option")]
    assert options == ["raw log-ratio", "filtered by kpo", "grpo", "kpo"]


def characters() -> Iterator[str]:
    yield from ("\n", "\t", "\x00", "\x1b", "", " ", "é😀", "</i><script>1", "x" * 50)


def test_tokens_of_any_characters_are_texts() -> None:
    texts = list(characters())
    parsed = Page(written([response([0.1] * len(texts), 1.0, tokens=texts, prompt="<p>\x07")]))
    found = [one["text"] for one in parsed.of("i")]
    assert found == ["⏎\n", "⇥", "\ufffd", "\ufffd", "∅", " ", "é😀", texts[-2], "x" * 24 + " …"]
    assert len(parsed.of("script")) == 1
    assert parsed.of("details")[0]["text"] == "prompt<p>\ufffd"


def test_the_page_stays_small_however_long_all_is() -> None:
    rng = np.random.default_rng(0)
    rows = [
        response(
            (3 * rng.normal(size=650)).tolist(),
            1.0,
            where=f"row {i}",
            tokens=["word<>"] * 650,
            prompt="long " * 20_000,
        )
        for i in range(60)
    ]
    methods = usual_objectives()
    text = page(Path("dump"), {}, [], looked_at(rows), methods)
    assert len(text.encode()) < 5_000_000
    assert len(Page(text).of("i")) > 20_000
