"""Pictures of the examples on which files disagree most with the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

from segopt_callbacks.markup import Markup, element, joined
from segopt_callbacks.pages.entries import Report, Worst
from segopt_callbacks.pages.palette import class_colours

_PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+=*")
_MOST_SWATCHES = 64


def gallery(report: Report, pictures: Mapping[str, str]) -> Markup | None:
    """The pictures, by example; what formats have in common is there once.

    Args:
        report: whose formats say which example is their worst.
        pictures: `input/EXAMPLE`, `truth/EXAMPLE`, `model/EXAMPLE`, `file/FORMAT` and `difference/FORMAT` -> a PNG as
            `data:` address; whatever else an address is, it is left out.

    Returns:
        `None` where there is no picture.
    """
    images = {key: Markup(uri) for key, uri in pictures.items() if _PNG.fullmatch(uri)}
    formats = report.of_kind("format")
    shown = {row.name: row.worst for row in formats if row.worst and f"file/{row.name}" in images}
    if not shown:
        return None
    equal = [row.name for row in formats if row.figures.get("equal_argmax") == 1]
    told = f"No class differs anywhere in {', '.join(equal)}. " if equal else ""
    intro = f"{told}Of each other file: the example on which most pixels differ; red where they do."
    examples = dict.fromkeys(worst.example for worst in shown.values())
    return joined(
        element("p", intro),
        _legend(report, max(worst.classes for worst in shown.values())),
        *(_example(example, shown, images) for example in examples),
    )


def kept_pictures(path: Path) -> dict[str, str]:
    """The pictures of a page that was written before; none where there is no such page."""
    if not path.exists():
        return {}
    finder = _Pictures()
    finder.feed(path.read_text(encoding="utf-8", errors="replace"))
    return finder.found


class _Pictures(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps a picture under its key."""
        given = dict(attrs)
        key, uri = given.get("data-picture"), given.get("src")
        if tag == "img" and key and uri:
            self.found[key] = uri


def _example(example: int, shown: Mapping[str, Worst], images: Mapping[str, Markup]) -> Markup:
    captions = {f"input/{example}": "input", f"truth/{example}": "ground truth", f"model/{example}": "model"}
    here = [name for name, worst in shown.items() if worst.example == example]
    for name in here:
        captions[f"file/{name}"] = name
        captions[f"difference/{name}"] = f"{name}: {1 - shown[name].equal_argmax:.4f} of the pixels differ"
    figures = [
        element(
            "figure",
            element("img", src=images[key], alt=caption, data_picture=key),
            element("figcaption", caption),
        )
        for key, caption in captions.items()
        if key in images
    ]
    heading = element("h3", f"Example {example}, counted from 0: the worst for {', '.join(here)}")
    return joined(heading, element("div", *figures, class_="pictures"))


def _legend(report: Report, classes: int) -> Markup:
    colours = class_colours(min(classes, _MOST_SWATCHES), report.palette)
    names = [*report.classes, *(f"class {number}" for number in range(len(report.classes), len(colours)))]
    swatches = [
        element("span", element("span", class_="colour", style=f"background:rgb{colour}"), name, class_="swatch")
        for colour, name in zip(colours, names, strict=False)  # a list of names may be longer
    ]
    return element("p", *swatches, class_="legend")
