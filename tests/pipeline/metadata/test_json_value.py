"""JSON that is one value: clip-retrieval's answers, the Hub's pages of rows, and what is broken."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from filtering import select
from hypothesis import given
from hypothesis import strategies as st

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.formats import json_value
from visunex.pipeline.metadata.formats.json_value import listed_in, rows_of
from visunex.pipeline.metadata.formats.records import AS_USUAL, Tally

ANSWER = [
    {"caption": "a red rose", "url": "https://h/1.jpg", "id": 4, "similarity": 0.25},
    {"caption": "a [rose], {\"white\"}", "url": "https://h/2.jpg", "id": 9, "similarity": 0.31},
    {"caption": None, "url": "https://h/3.jpg", "id": 5, "similarity": 0.2},
]  # fmt: skip
PAGE = {
    "features": [
        {"feature_idx": 0, "name": "image", "type": {"_type": "Image"}},
        {
            "feature_idx": 1,
            "name": "artist",
            "type": {"names": ["monet", "aivazovsky"], "_type": "ClassLabel"},
        },
    ],
    "rows": [
        {
            "row_idx": n,
            "row": {"image": {"src": f"https://h/{n}.jpg", "height": 9, "width": 7}, "artist": n % 3},
        }
        for n in range(4)
    ],
    "num_rows_total": 4,
}


def written(folder: Path, value: Any, name: str = "x.json", **how: Any) -> Path:
    text = value if isinstance(value, str) else json.dumps(value, **how)
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    return folder / name


@pytest.mark.parametrize(("name", "indent"), [
    ("x.json", None), ("x.json", 2), ("x.jsonl", 1), ("answer", 4), ("x.json.gz", None),
])  # fmt: skip
def test_an_answer_of_clip_retrieval_is_a_source_ranked_by_similarity(
    tmp_path: Path, name: str, indent: int | None
) -> None:
    _, found = select(tmp_path / "run", written(tmp_path, ANSWER, name, indent=indent))
    assert found["url"].to_list() == ["https://h/2.jpg", "https://h/1.jpg", "https://h/3.jpg"]
    assert found["score"].to_list() == found["similarity"].to_list() == [0.31, 0.25, 0.2]
    assert found["caption"].to_list() == ["a [rose], {\"white\"}", "a red rose", None]  # fmt: skip


def test_similarity_to_a_query_is_never_taken_for_beauty(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match="has scores of similarity, the recipe's thresholds mean those of V2"
    ):
        select(tmp_path / "run", written(tmp_path, ANSWER), predictor="V2", min_score=6.5)


def test_a_page_of_the_hub_is_its_rows_with_the_names_of_labels(tmp_path: Path) -> None:
    _, found = select(
        tmp_path / "run", written(tmp_path, PAGE), keywords=["aivazovsky"], columns={"caption": "artist"}
    )
    assert found["url"].to_list() == ["https://h/1.jpg"]
    assert found.select("width", "height").rows() == [(7, 9)]


@pytest.mark.parametrize(
    "value", [{"images": ANSWER}, {"info": {"a": [1]}, "n": 3, "x": [1, 2], "images": ANSWER}]
)
@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_with_one_list_of_objects_is_that_list(
    tmp_path: Path, value: Any, indent: int | None
) -> None:
    assert select(tmp_path / "run", written(tmp_path, value, indent=indent))[0].selected == 3


@pytest.mark.parametrize(("value", "said"), [
    ({"images": ANSWER, "annotations": [{"id": 1}]}, r"several lists .*, images \(3\), annotations \(1\)"),
    ('{"a":\n1}', "one JSON object without a list of objects"),
    ("[]", "has no rows"),
    ("[1, 2]", "2 rows cannot be read, 0 can; the first: item 1 is no object"),
    (json.dumps(ANSWER)[:-30], r"line 1, column \d+: it is cut short"),
    (json.dumps(ANSWER)[:-1], "line 1, column .*: it ends where , or ] is to be"),
    (json.dumps(ANSWER, indent=1)[:-40], r"line \d+, column \d+: it is cut short"),
    (json.dumps({"images": ANSWER})[:-2], "line 1, column .*: it ends where , or ] is to be"),
    ('[{"a": 1} {"a": 2}]', "line 1, column 11: no , or ] but '{'"),
    ('[{"url": "a"},\n {"url": }, {"url": "c"}]' + " " * 50, "line 2, column 10: Expecting value"),
    (json.dumps(ANSWER) + "\n" + json.dumps(ANSWER), "line 2, column 1: there is more after the end"),
    ("[" * 200_000, "recursion|cut short|more than"),
    ('[{"url": ' + "9" * 5000 + "}]", "digits"),
    ('[{"url": "a", "x": "' + "y" * (9 << 20), "a value of more than 8 MiB"),
])  # fmt: skip
def test_what_is_broken_or_means_several_things_is_named_with_the_place(
    tmp_path: Path, value: Any, said: str
) -> None:
    with pytest.raises(SourceError, match=said) as found:
        select(tmp_path / "run", written(tmp_path, value))
    assert "x.json" in str(found.value)


def test_lines_stay_lines_whatever_their_objects_hold(tmp_path: Path) -> None:
    row = json.dumps({"url": "https://h/1.jpg", "boxes": [{"x": 1}], "tags": ["sea", "storm"]})
    cut = '{"boxes": [{"x": 1}, {'
    texts = {1: row, 3: f"{row}\n{row.replace('1.jpg', '2.jpg')}\n{row.replace('1.jpg', '3.jpg')}"}
    texts[2] = f"{cut}\n{row}\n{row.replace('1.jpg', '2.jpg')}\n"
    for count, text in texts.items():
        _, found = select(tmp_path / f"{count}", written(tmp_path, text), where="tags LIKE '%storm%'")
        assert found["tags"].to_list() == ["sea, storm"] * count


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(), values, min_size=1, max_size=4), max_size=6),
    st.integers(1, 40),
    st.booleans(),
)
def test_read_piece_by_piece_it_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], block: int, escaped: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces.json"
    path.write_text(
        json.dumps(rows, ensure_ascii=escaped, indent=block % 3 or None), encoding="utf-8", errors="replace"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_value, "_BLOCK", block)
        patch.setattr(json_value, "_scored", dict)
        listed = listed_in(path, AS_USUAL)
        assert listed is not None
        found = [row for _, row in rows_of(path, listed, Tally())]
    assert found == json.loads(path.read_text(encoding="utf-8"))
