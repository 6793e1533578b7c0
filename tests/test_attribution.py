"""The shipped pictures: every file has its facts, and people and programs read the same ones."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from nst_helpers import attribution
from nst_helpers.attribution import find_picture, images_folder, picture, pictures
from nst_helpers.errors import NstError

IMAGES = Path(__file__).parents[1] / "images"


def assert_sentence(error: Exception) -> None:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 300


def _table_rows() -> list[list[str]]:
    lines = (IMAGES / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "| [" in line
    ]
    assert rows
    return rows


def test_every_file_has_one_record_and_every_record_a_file():
    files = {p.relative_to(IMAGES).as_posix() for p in IMAGES.glob("*/*")}
    recorded = [p.path.relative_to(IMAGES).as_posix() for p in pictures()]
    assert sorted(recorded) == sorted(files)
    assert len(recorded) == 13
    assert len({p.name for p in pictures()}) == 13


def test_the_table_for_people_says_what_the_records_say():
    records = json.loads((IMAGES / "attribution.json").read_text(encoding="utf-8"))
    told = [
        [
            f"[{record['file']}]({record['file']})",
            record["title"],
            record["author"],
            record["year"] or "not known",
            record["licence"],
            record["source"],
        ]
        for record in records
    ]
    assert _table_rows() == told


def test_the_weights_are_credited():
    text = (IMAGES / "ATTRIBUTION.md").read_text(encoding="utf-8")
    credits = text.partition("## Network weights")[2]
    for fact in ("Simonyan", "Zisserman", "2014", "CC BY", "torchvision", "BSD-3-Clause", "MIT"):
        assert fact in credits
    for fact in ("Huang", "Belongie", "2017"):
        assert fact in credits


@pytest.mark.parametrize("shipped", pictures(), ids=lambda p: p.name)
def test_a_record_fits_its_file(shipped):
    assert shipped.path.stem == shipped.name
    assert shipped.path.parent.name == shipped.kind
    with Image.open(shipped.path) as image:
        assert min(image.size) >= 256
    assert re.fullmatch(r"[A-Z][^.]{30,200}\.", shipped.alt), "one sentence, without abbreviations"
    assert "\n" not in shipped.credit
    assert len(shipped.credit) < 120


def test_credit_names_title_author_year_and_short_licence():
    starry = picture("starry-night")
    assert starry.credit == "The Starry Night, Vincent van Gogh, 1889 (public domain)"
    assert picture("red-panda").credit == "Red panda, Mathias Appel (CC0-1.0)"


def test_pictures_come_by_kind():
    content, style = pictures("content"), pictures("style")
    assert (len(content), len(style)) == (5, 8)
    assert {p.kind for p in content} == {"content"}
    assert content + style == pictures()
    with pytest.raises(NstError, match="'paintings' is unknown") as caught:
        pictures("paintings")
    assert_sentence(caught.value)


def test_an_unknown_name_is_answered_with_the_closest():
    with pytest.raises(NstError, match=r"'stary-nigth'.*starry-night") as caught:
        picture("stary-nigth")
    assert_sentence(caught.value)
    with pytest.raises(NstError, match="great-wave") as caught:
        picture("zzz")
    assert_sentence(caught.value)


def test_a_picture_is_found_by_name_by_any_spelling_of_its_path_and_by_itself(
    tmp_path, monkeypatch
):
    wave = picture("great-wave")
    monkeypatch.chdir(IMAGES.parent)
    spellings = ["great-wave", "images/style/great-wave.jpg", wave.path, wave, str(wave.path)]
    spellings += ["images/content/../style/great-wave.jpg", Path("images/style/great-wave.jpg")]
    (tmp_path / "link.jpg").symlink_to(wave.path)
    spellings.append(tmp_path / "link.jpg")
    for spelling in spellings:
        assert find_picture(spelling) == wave


def test_other_things_are_no_shipped_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "great-wave").write_bytes(b"somebody's own file of that name")
    others = [
        "great-wave",
        "great",
        "great-wave.jpg",
        "",
        "x" * 5000,
        "a\0b",
        7,
        None,
        b"great-wave",
    ]
    others += ["https://127.0.0.1/great-wave", "~nobody-of-that-name/x"]
    for other in others:
        assert find_picture(other) is None


def test_the_folder_is_the_checkouts_unless_the_variable_says_otherwise(tmp_path, monkeypatch):
    assert images_folder() == IMAGES
    shutil.copytree(IMAGES, tmp_path / "mine")
    monkeypatch.setenv("NST_IMAGES", str(tmp_path / "mine"))
    assert images_folder() == tmp_path / "mine"
    assert picture("astronaut").path == tmp_path / "mine/content/astronaut.jpg"
    monkeypatch.setenv("NST_IMAGES", str(tmp_path))
    with pytest.raises(NstError, match="NST_IMAGES is set to") as caught:
        images_folder()
    assert_sentence(caught.value)
    assert find_picture("astronaut") is None


def test_an_installed_package_uses_its_own_pictures(tmp_path, monkeypatch):
    package = tmp_path / "site/nst_helpers"
    package.mkdir(parents=True)
    monkeypatch.setattr(attribution, "__file__", str(package / "attribution.py"))
    with pytest.raises(NstError, match="shipped pictures are missing") as caught:
        images_folder()
    assert_sentence(caught.value)
    shutil.copytree(IMAGES, package / "_images")
    shutil.copytree(IMAGES, tmp_path / "site/images")
    assert images_folder() == package / "_images"


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ("{", "cannot be read"),
        ("{}", "no list of records"),
        ("[1]", "record '1' .* not complete"),
        ('[{"name": "x"}]', "record 'x' .* not complete"),
    ],
)
def test_records_are_checked_before_they_are_trusted(records, complaint, tmp_path, monkeypatch):
    monkeypatch.setenv("NST_IMAGES", str(tmp_path))
    (tmp_path / "attribution.json").write_text(records, encoding="utf-8")
    with pytest.raises(NstError, match=complaint) as caught:
        pictures()
    assert_sentence(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"file": "../../secret.jpg"}, "outside its folder"),
        ({"alt": ""}, "not complete"),
        ({"title": 3}, "not complete"),
        ({"year": 1889}, "not complete"),
        ({"kind": "paintings"}, "not complete"),
        ({"extra": "x"}, "not complete"),
    ],
)
def test_one_wrong_fact_in_a_record_is_told(change, complaint, tmp_path, monkeypatch):
    monkeypatch.setenv("NST_IMAGES", str(tmp_path))
    record = json.loads((IMAGES / "attribution.json").read_text(encoding="utf-8"))[0] | change
    (tmp_path / "attribution.json").write_text(json.dumps([record]), encoding="utf-8")
    with pytest.raises(NstError, match=complaint) as caught:
        pictures()
    assert_sentence(caught.value)


def test_attribution_does_without_torch():
    code = "import sys, nst_helpers.attribution as a; a.pictures(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
    assert run.stderr == ""
