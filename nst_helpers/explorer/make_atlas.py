"""Makes the atlas anew: ``python -m nst_helpers.explorer.make_atlas``.

It takes some minutes on a laptop's processor. Every run is the engine's own, with its defaults, so
the atlas is to be made again when these change.
"""

from __future__ import annotations

import argparse
import io

from PIL import Image

from nst_helpers import backbones, losses
from nst_helpers.explorer.atlas import FACTS, FOLDER, Atlas, Sheet, facts_of
from nst_helpers.explorer.settings import CONTENT, STYLE
from nst_helpers.images import load_image, to_pil
from nst_helpers.transfer import StyleTransfer

SIZE = 160
# Closest where the picture changes most, around the engine's default.
BETAS = (0.005, 0.05, 0.2, 0.5, 2.0, 10.0, 100.0)
STEPS = (1, 5, 15, 40)
QUALITY = 80
LARGEST = 2_000_000  # bytes of all files together
LAYERS = {
    "all five layers": tuple(losses.STYLE_WEIGHTS),
    "conv1_1 alone": ("conv1_1",),
    "conv4_1 and conv5_1": ("conv4_1", "conv5_1"),
}


def painted_row(
    style_weights: dict[str, float],
    beta: float,
    steps: tuple[int, ...],
    size: int,
    **options: object,
) -> list[Image.Image]:
    """Return the picture after each number of ``steps``."""
    transfer = StyleTransfer(
        CONTENT, STYLE, beta=beta, style_weights=style_weights, size=size, **options
    )
    row = []
    for step in range(max(steps) + 1):
        transfer.advance()
        if step in steps:
            row.append(to_pil(transfer.picture()))
    return row


def make_sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Return the pictures of equal size on one sheet."""
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (width * len(rows[0]), height * len(rows)))
    for y, row in enumerate(rows):
        for x, each in enumerate(row):
            sheet.paste(each, (x * width, y * height))
    return sheet


def make_atlas(steps: tuple[int, ...] = STEPS, size: int = SIZE) -> None:
    """Paint all sheets, and write them and their facts."""
    model = backbones.vgg19(until="conv5_1")
    height, width = load_image(CONTENT, size=size).shape[-2:]
    sheets, files = [], {}
    for number, (words, layers) in enumerate(LAYERS.items()):
        style_weights = {layer: losses.STYLE_WEIGHTS[layer] for layer in layers}
        rows = []
        for beta in BETAS:
            rows.append(painted_row(style_weights, beta, steps, size, model=model))
            print(f"{words}, beta {beta:g}", flush=True)
        buffer = io.BytesIO()
        make_sheet(rows).save(buffer, "JPEG", quality=QUALITY, optimize=True)
        sheets.append(Sheet(words, style_weights, f"sheet-{number}.jpg"))
        files[sheets[-1].file] = buffer.getvalue()
    atlas = Atlas(
        content=CONTENT,
        style=STYLE,
        weights=model.weights_name,
        size=size,
        cell=(width, height),
        betas=BETAS,
        steps=steps,
        sheets=tuple(sheets),
    )
    files[FACTS] = facts_of(atlas).encode()
    total = sum(map(len, files.values()))
    if total > LARGEST:
        raise SystemExit(f"The atlas would take {total:,} bytes; at most {LARGEST:,} are meant.")
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for name, content in files.items():
        (FOLDER / name).write_bytes(content)
    print(f"{len(files)} files in {FOLDER}, {total:,} bytes")


def main() -> None:
    """Read the command line and make the atlas."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--size", type=int, default=SIZE)
    options = parser.parse_args()
    make_atlas(tuple(options.steps), options.size)


if __name__ == "__main__":
    main()
