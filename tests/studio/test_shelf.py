"""The shelf: every taste there is, what is said of each, and how new ones come to lie on it."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visunex.aesthetic_embeddings import load, save
from visunex.aesthetic_embeddings.errors import EmbeddingError
from visunex.base.errors import UsageError
from visunex.demo.world import World
from visunex.studio.work import uploads
from visunex.studio.work.blend import beside, blend, save_blend
from visunex.studio.work.places import Places, free_name
from visunex.studio.work.shelf import sheet_of, shelf, shelved
from visunex.studio.work.uploads import taste_of


def taste(path: Path, seed: int, provenance: dict[str, object]) -> None:
    vector = np.random.default_rng(seed).normal(size=768)
    save(path, vector, {"model": {"name": "visunex-tiny"}, **provenance})


def test_runs_saved_and_published_tastes_say_what_they_are(here: Path) -> None:
    taste(here / "tastes" / "mine.pt", 1, {"curated": {"run": "runs/garden"}, "images": {"used": 1234}})
    (here / "tastes" / "broken.pt").write_bytes(b"nothing")
    there = {each.find: each for each in shelf(Places())}
    assert there["garden"].about == "60 pictures · visunex-tiny · unit-mean"
    assert there["tastes/mine.pt"].about == "1,234 pictures · curated from garden · visunex-tiny"
    assert not there["fantasy"].here
    assert len(there) == 10
    assert len(there["garden"].curve) == 64
    assert max(map(abs, there["garden"].curve)) == 1
    with pytest.raises(UsageError, match="no taste 'gone'"):
        shelved(Places(), "gone")


def test_a_provenance_of_anything_does_not_hide_a_taste(here: Path) -> None:
    path = here / "tastes" / "odd.pt"
    taste(path, 1, {})
    noted = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    noted |= {"images": [], "model": 7, "curated": "x", "mixed_from": [1, {"name": "<b>"}], "reduction": {}}
    path.with_suffix(".json").write_text(json.dumps(noted), encoding="utf-8")
    assert shelved(Places(), "tastes/odd.pt").about == "a mix of None, <b>"


def test_a_runs_card_has_its_pictures(here: Path) -> None:
    run = shelved(Places(), "garden").run
    assert run is not None
    data = sheet_of(run)
    assert data is not None
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("WEBP", (496, 296))
    assert sheet_of(here) is None


@pytest.mark.parametrize("name", ["", "  ", "../x", "a/b", ".hidden", "x" * 64, "new\nline", "dot."])
def test_names_that_no_file_should_have_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        free_name(name)


def test_a_name_is_taken_once(here: Path) -> None:
    taste(here / "tastes" / "mine.pt", 1, {})
    assert Places().new_taste(" Mine 2.pt ") == Path("tastes/Mine 2.pt")
    with pytest.raises(UsageError, match="choose another name"):
        Places().new_taste("mine")
    with pytest.raises(UsageError, match="choose another name"):
        Places().new_run("garden")


def test_dropped_pictures_become_a_run_and_what_is_none_is_named(here: Path, tmp_path: Path) -> None:
    files = []
    for each in World().entries[:5]:
        path = tmp_path / f"upload{each.row}"
        path.write_bytes(each.image_file())
        files.append((f"holiday {each.row}.jpg", path))
    (tmp_path / "evil").write_bytes(b"<svg onload=alert(1)>")
    taken = taste_of(Places(), "mine", [*files, ("<b>.png", tmp_path / "evil")], "visunex-tiny")
    assert (taken.run, taken.images) == ("mine", 5)
    ((name, why),) = taken.refused
    assert name == "<b>.png"
    assert "not" in why
    assert shelved(Places(), "mine").about == "5 pictures · visunex-tiny · unit-mean"
    assert len(list((here / "runs" / "mine" / "pictures").iterdir())) == 5


def test_uploads_are_bounded_and_leave_nothing_when_they_fail(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(World().entries[0].image_file())
    with pytest.raises(UsageError, match="drop some pictures"):
        taste_of(Places(), "mine", [], "visunex-tiny")
    with pytest.raises(UsageError, match="more than 1,000"):
        taste_of(Places(), "mine", [("a", path)] * 1001, "visunex-tiny")
    with pytest.raises(Exception, match="knows no model"):
        taste_of(Places(), "mine", [("a", path)], "nonsense")
    assert not (here / "runs" / "mine").exists()
    monkeypatch.setattr(uploads, "LARGEST", 10)
    with pytest.raises(UsageError, match="larger than"):
        taste_of(Places(), "mine", [("a", path)], "visunex-tiny")


def test_a_mixture_is_seen_before_it_is_kept(here: Path) -> None:
    taste(here / "tastes" / "a.pt", 1, {})
    taste(here / "tastes" / "b.pt", 2, {})
    parts = [("tastes/a.pt", 0.8), ("tastes/b.pt", 0.2), ("", 0.5)]
    seen = blend(parts)
    assert [name for name, _ in seen.cosines] == ["a", "b"]
    assert seen.cosines[0][1] > seen.cosines[1][1]
    made = save_blend(Places(), "both", parts)
    assert made.path == Path("tastes/both.pt")
    noted = load(made.path).provenance or {}
    assert [(each["name"], each["weight"]) for each in noted["mixed_from"]] == [("a", 0.8), ("b", 0.2)]
    assert [name for name, _ in beside(Places(), "tastes/both.pt")][:2] == ["a", "b"]


def test_what_cannot_be_mixed_is_said(here: Path) -> None:
    taste(here / "tastes" / "a.pt", 1, {})
    with pytest.raises(UsageError, match="at least two"):
        blend([("tastes/a.pt", 1.0), ("garden", 0.0)])
    with pytest.raises(UsageError, match="each taste once"):
        blend([("garden", 1.0), ("garden", 0.5)])
    with pytest.raises(UsageError, match="no embedding called"):
        blend([("garden", 1.0), ("gone", 0.5)])
    save(here / "tastes" / "other.pt", np.ones(768), {"model": {"name": "ViT-L-14", "pretrained": "openai"}})
    with pytest.raises(EmbeddingError, match="different models"):
        blend([("garden", 1.0), ("tastes/other.pt", 0.5)])
