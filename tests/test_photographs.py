from __future__ import annotations

import pytest
import torch
from PIL import Image

from nst_helpers.errors import ImageError, NstError
from nst_helpers.images import load_image
from nst_helpers.photographs import Crops, crop_batches, find_photographs


def _photograph(path, width=90, height=60, kind="JPEG"):
    """Write a picture that is red to the right and green to the bottom."""
    red = Image.linear_gradient("L").rotate(90).resize((width, height))
    green = Image.linear_gradient("L").resize((width, height))
    Image.merge("RGB", (red, green, Image.new("L", (width, height)))).save(path, format=kind)
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    _photograph(tmp_path / "a.jpg")
    _photograph(tmp_path / "deep" / "b.PNG", kind="PNG")
    _photograph(tmp_path / "c.jpg")
    _photograph(tmp_path / "small.jpg", 40, 20)
    (tmp_path / "broken.jpg").write_bytes(b"no picture at all")
    (tmp_path / "notes.txt").write_text("no photograph either")
    return tmp_path


def test_a_folder_is_looked_through_and_bad_files_are_named(folder):
    found = find_photographs(folder, size=32)
    assert [path.name for path in found.paths] == ["a.jpg", "c.jpg", "b.PNG"]
    assert len(found.skipped) == 2
    broken, small = found.skipped
    assert "broken.jpg" in broken
    assert "no picture" in broken
    assert "small.jpg" in small
    assert "40 x 20" in small


def test_a_photograph_can_be_held_out(folder):
    names = {path.name for path in find_photographs(folder, size=32, held_out="a").paths}
    assert names == {"c.jpg", "b.PNG"}
    shipped = find_photographs(size=128, held_out="neuschwanstein").paths
    assert len(shipped) == 4
    assert not any("neuschwanstein" in path.name for path in shipped)
    with pytest.raises(NstError, match="held out"):
        find_photographs(folder, size=32, held_out="z.jpg")


def test_what_holds_no_photographs_is_refused(folder, tmp_path):
    with pytest.raises(NstError, match="no folder"):
        find_photographs(tmp_path / "nowhere", size=32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NstError, match="holds no photographs"):
        find_photographs(tmp_path / "empty", size=32)
    with pytest.raises(NstError, match="None of the 5"):
        find_photographs(folder, size=64)
    with pytest.raises(NstError, match=r"no photograph 'gone\.jpg'"):
        find_photographs(["gone.jpg"], size=32)


def test_a_crop_depends_on_seed_and_number_alone(folder):
    photographs = find_photographs(folder, size=32)
    crops = Crops(photographs, 32, seed=3)
    ahead = [crops[number][0] for number in range(6)]
    again = Crops(photographs, 32, seed=3)
    for number in reversed(range(6)):
        assert torch.equal(again[number][0], ahead[number])
    assert not torch.equal(Crops(photographs, 32, seed=4)[0][0], ahead[0])
    assert len({float(crop.mean()) for crop in ahead}) == 6


def test_crops_have_all_places_scales_and_both_hands(folder):
    crops = Crops(find_photographs([folder / "a.jpg"], size=32), 32)
    drawn = torch.stack([crops[number][0] for number in range(40)])
    assert drawn.shape == (40, 3, 32, 32)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    red = drawn[:, 0, :, -4:].mean((1, 2)) - drawn[:, 0, :, :4].mean((1, 2))
    assert (red > 0).any()
    assert (red < 0).any()
    # Green grows by 1 from top to bottom of the photograph: so it tells the scale, 32 to 60 of 60.
    green = drawn[:, 1, -1].mean(1) - drawn[:, 1, 0].mean(1)
    assert green.min() < 0.65
    assert green.max() > 0.85
    assert green.min() > 0.4


def test_a_large_photograph_is_shown_small_as_well(tmp_path):
    crops = Crops(find_photographs([_photograph(tmp_path / "a.jpg", 900, 600)], size=32), 32)
    green = [float(c[1, -1].mean() - c[1, 0].mean()) for c, _ in (crops[n] for n in range(40))]
    # A crop is at least a third of the short side wide.
    assert 0.25 < min(green) < 0.45
    assert max(green) > 0.8


def test_a_photograph_that_breaks_off_is_named_and_replaced(folder):
    whole = _photograph(folder / "c.jpg", 900, 600).read_bytes()
    (folder / "c.jpg").write_bytes(whole[: len(whole) // 2])
    photographs = find_photographs([folder / "a.jpg", folder / "c.jpg"], size=32)
    assert len(photographs.paths) == 2
    crops, said = zip(*(Crops(photographs, 32)[number] for number in range(12)), strict=True)
    assert any("c.jpg" in line for line in said)
    assert not all(said)
    assert all(crop.std() > 0.02 for crop in crops)
    only = find_photographs([folder / "c.jpg"], size=32)
    with pytest.raises(ImageError, match=r"c\.jpg"):
        Crops(only, 32)[0]


def test_batches_go_on_where_a_training_stopped(folder):
    crops = Crops(find_photographs(folder, size=32), 32)
    state = torch.get_rng_state()
    whole = [batch for batch, _ in crop_batches(crops, 2, range(4))]
    assert torch.equal(torch.get_rng_state(), state)
    rest = [batch for batch, _ in crop_batches(crops, 2, range(2, 4))]
    assert [batch.shape for batch in whole] == [(2, 3, 32, 32)] * 4
    assert all(map(torch.equal, whole[2:], rest))


def test_the_shipped_photographs_fit_the_usual_crop():
    found = find_photographs(size=256)
    assert len(found.paths) == 5
    assert not found.skipped
    assert all(load_image(path).shape[1] == 3 for path in found.paths)
