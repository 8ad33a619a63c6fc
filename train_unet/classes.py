"""classes.json: names of the classes, their colours, the size of tiles, and which class is ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def class_id(given: str, classes: list[str], faults: list[str]) -> int | None:
    """The id of a class that is given by its name or id; `None`, and a fault, for another text."""
    if given in classes:
        return classes.index(given)
    if given.isdecimal() and int(given) < len(classes):
        return int(given)
    faults.append(f"--ignore_class must be a class, by name or id: {', '.join(classes)}. Received: {given}.")
    return None


def read_classes(path: Path, faults: list[str]) -> dict[str, Any]:
    """The content of classes.json, `{}` where it is of no use."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        faults.append(f"{path.name}: is missing; it names the classes, such as " + '{"classes": ["water", "land"]}.')
        return {}
    except ValueError as error:
        faults.append(f"{path.name}: must be JSON in UTF-8 ({error}).")
        return {}
    classes = content.get("classes") if isinstance(content, dict) else None
    if not (isinstance(classes, list) and 2 <= len(classes) <= 255 and all(isinstance(name, str) for name in classes)):
        faults.append(f'{path.name}: "classes" must be a list of 2 to 255 names. Received: {classes!r}.')
        return {}
    before = len(faults)
    ignore, palette, tile = content.get("ignore"), content.get("palette"), content.get("tile")
    if ignore is not None and not (_is_int(ignore) and 0 <= ignore < len(classes)):
        faults.append(f'{path.name}: "ignore" must be a class id from 0 to {len(classes) - 1}. Received: {ignore!r}.')
    if palette is not None and not _is_palette(palette, len(classes)):
        faults.append(f'{path.name}: "palette" must hold {len(classes)} colours [red, green, blue], each 0 to 255.')
    if tile is not None and not (_is_int(tile) and tile > 0):
        faults.append(f'{path.name}: "tile" must be the images\' height and width in pixels. Received: {tile!r}.')
    return content if len(faults) == before else {}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_palette(palette: Any, classes: int) -> bool:
    colours = palette if isinstance(palette, list) and len(palette) == classes else [None]
    return all(
        isinstance(colour, list) and len(colour) == 3 and all(_is_int(part) and 0 <= part <= 255 for part in colour)
        for colour in colours
    )


def default_palette(classes: int) -> np.ndarray:
    """`(classes, 3)` uint8 colours where nobody has chosen any."""
    # The bits of the id, spread over the three channels from the highest down: neighbours differ clearly.
    ids = np.arange(classes)
    bits = [(ids >> 3 * level) & (1 << channel) > 0 for level in range(3) for channel in range(3)]
    return np.stack([sum(bits[3 * level + c] * (128 >> level) for level in range(3)) for c in range(3)], axis=-1)
