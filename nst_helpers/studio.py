"""What the studio's notebooks share: how large they run, their tables and charts, what is kept.

A notebook of the studio runs in full on a reader's computer. With ``NST_STUDIO=small`` in the
environment it runs at small size, as the tests do. With ``NST_STUDIO=keep`` it runs in full and
leaves its tables and pictures in ``results/`` beside it, where ``kept`` finds them: so a reader
sees what a full run gives before, or without, waiting for one.
"""

from __future__ import annotations

import datetime
import html
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from nst_helpers.display import BACKGROUND, QUIET, TEXT, Credit, Figure, Panel, show
from nst_helpers.errors import NstError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

MODE_VARIABLE = "NST_STUDIO"
MODES = ("full", "small", "keep")
FOLDER = Path("results")
_QUALITY = 88
_CELL = f"padding:3px 10px;border-bottom:1px solid #d0d7de;color:{TEXT}"

Any_ = TypeVar("Any_")
Kept = TypeVar("Kept", Figure, "Table")


class StudioError(NstError):
    """A table, chart or kept result is not what it has to be."""


def mode() -> str:
    """Return how notebooks run: ``"full"``, ``"small"`` or ``"keep"``.

    Raises:
        StudioError: the environment variable ``NST_STUDIO`` says something else.
    """
    said = os.environ.get(MODE_VARIABLE) or "full"
    if said not in MODES:
        raise StudioError(
            f"{MODE_VARIABLE} is {said!r}; set it to one of {', '.join(MODES)}, or not at all."
        )
    return said


def sized(full: Any_, small: Any_) -> Any_:
    """Return ``small`` where notebooks run at small size, else ``full``."""
    return small if mode() == "small" else full


# --- tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Table:
    """Rows with a caption, for notebooks and files.

    Attributes:
        frame: the rows, for sorting and computing.
        caption: what they show, in facts.
    """

    frame: pd.DataFrame
    caption: str

    def __str__(self) -> str:
        return f"{self.caption}\n{self._shown().to_string(index=False)}"

    def __repr__(self) -> str:
        return f"<Table, {len(self.frame)} rows: {self.caption}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return the table as HTML and as text (IPython, "Rich display")."""
        return {"text/html": self._html(), "text/plain": str(self)}

    def _shown(self) -> pd.DataFrame:
        return self.frame.map(readable)

    def _html(self) -> str:
        # Colours of its own inline: a sheet of styles is taken out of a notebook not trusted.
        shown = self._shown()
        head = "".join(
            f'<th scope="col" style="{_CELL};text-align:left">{html.escape(str(name))}</th>'
            for name in shown.columns
        )
        rows = "".join(f"<tr>{_cells(row)}</tr>" for row in shown.itertuples(index=False))
        return (
            f'<figure style="margin:0;padding:10px;background:{BACKGROUND};overflow-x:auto">'
            f'<table style="border-collapse:collapse;background:{BACKGROUND};font-size:13px">'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            f'<figcaption style="margin-top:6px;color:{QUIET}">{html.escape(self.caption)}'
            f"</figcaption></figure>"
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write the rows as CSV, all digits kept, and return the path."""
        path = Path(path)
        self.frame.to_csv(path, index=False)
        return path


def _cells(row: Iterable[str]) -> str:
    first, *others = (html.escape(value) for value in row)
    cells = "".join(
        f'<td style="{_CELL};text-align:left;font-variant-numeric:tabular-nums">{value}</td>'
        for value in others
    )
    return f'<th scope="row" style="{_CELL};text-align:left;font-weight:600">{first}</th>{cells}'


def table(rows: Iterable[Mapping[str, Any]], caption: str) -> Table:
    """Return rows, each a mapping of column to value, as a table.

    Raises:
        StudioError: there are no rows.
    """
    import pandas as pd

    frame = pd.DataFrame(list(rows))
    if frame.empty:
        raise StudioError("A table without rows was asked for; give it at least one.")
    return Table(frame, caption)


def readable(value: Any) -> str:
    """Return a value as a table shows it: a number with three digits that count, 1,234 or 0.0123.

    Nothing at all is shown as a dash, and a number too large or small to be read with an exponent.
    """
    if value is None or value != value:
        return "–"
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return str(value)
    number = float(value)
    if number == int(number) if abs(number) < 1e15 else False:
        return f"{int(number):,}" if abs(number) < 1e6 else f"{number:.3g}"
    if 1e-4 <= abs(number) < 1e6:
        return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
    return f"{number:.2e}"


# --- charts ---------------------------------------------------------------------------------------


def chart(
    canvas: Canvas, caption: str, alt: str, credit: Credit | None = None, width: int = 760
) -> Figure:
    """Return a drawing by matplotlib as a figure with a caption and alternative text.

    Args:
        canvas: a ``matplotlib.figure.Figure``; made without pyplot nothing has to be closed.
        caption: what it shows, in facts.
        alt: what can be seen in it, for people who do not see it.
        credit: whose pictures it was made of.
        width: on the screen, in CSS pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not hasattr(canvas.canvas, "buffer_rgba"):
        FigureCanvasAgg(canvas)
    drawn = io.BytesIO()
    canvas.savefig(drawn, format="png", dpi=2 * width / canvas.get_figwidth())
    with Image.open(drawn) as picture:
        pixels = picture.convert("RGB")
    figure = show(pixels, caption, alt, credit, width)
    panel = Panel(pixels, figure.panels[0].alt, width=width, drawn=True)
    return Figure((panel,), figure.caption, figure.credits)


# --- what a full run left -------------------------------------------------------------------------


def keep(name: str, what: Kept) -> Kept:
    """Return ``what``; with ``NST_STUDIO=keep`` it is written to ``results/`` as well."""
    if mode() == "keep":
        FOLDER.mkdir(exist_ok=True)
        record = _table_record(name, what) if isinstance(what, Table) else _record(name, what)
        record["run"] = _this_run()
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
    return what


def _table_record(name: str, what: Table) -> dict[str, str]:
    return {"caption": what.caption, "rows": what.save(FOLDER / f"{name}.csv").name}


def _record(name: str, figure: Figure) -> dict[str, Any]:
    panels = []
    for number, panel in enumerate(figure.panels):
        facts = asdict(panel)
        pixels: Image.Image = facts.pop("pixels")
        file = f"{name}-{number}.{'png' if panel.drawn else 'jpg'}"
        if panel.drawn:
            # A drawing has few colours: a palette is as good, at a third of the bytes.
            pixels.quantize(128).save(FOLDER / file, optimize=True)
        else:
            pixels.save(FOLDER / file, quality=_QUALITY)
        panels.append(facts | {"file": file})
    rest = {"caption": figure.caption, "credits": figure.credits, "columns": figure.columns}
    return rest | {"panels": panels}


def _this_run() -> str:
    import torch

    from nst_helpers.device import describe_device, pick_device

    day = datetime.date.today().isoformat()
    device = describe_device(pick_device()).rpartition(", ")[0]
    return f"{device}, torch {torch.__version__.split('+')[0]}, {day}"


def kept(name: str) -> Figure | Table:
    """Return the figure or table that a full run left under ``name``; its caption says so.

    Raises:
        StudioError: there is none, or its files are damaged.
    """
    path = FOLDER / f"{name}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        caption = f"{record['caption']} Kept from a full run ({record['run']})."
        if "rows" in record:
            import pandas as pd

            return Table(pd.read_csv(FOLDER / _plain(record["rows"])), caption)
        panels = tuple(_panel(facts) for facts in record["panels"])
        return Figure(panels, caption, tuple(record["credits"]), record["columns"])
    except FileNotFoundError as error:
        raise StudioError(
            f"{error.filename} is not there; run this notebook in its own folder, or make it anew "
            f"with: python -m benchmarks.studio {Path.cwd().name}"
        ) from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise StudioError(
            f"The kept result {str(path)!r} cannot be read ({error}); make it anew with: "
            f"python -m benchmarks.studio {Path.cwd().name}"
        ) from None


def _panel(facts: Mapping[str, Any]) -> Panel:
    with Image.open(FOLDER / _plain(facts["file"])) as picture:
        pixels = picture.convert("RGB")
    return Panel(pixels, facts["alt"], facts["label"], facts["width"], facts["drawn"])


def _plain(file: str) -> str:
    """Return the name of a file that lies in the folder itself."""
    if Path(file).name != file:
        raise ValueError(f"{file!r} is no plain file name")
    return file
