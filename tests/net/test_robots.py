"""What a server's headers forbid."""

import pytest

from visunex.net.robots import forbidden


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("noai", {"noai"}),
        ("all", set()),
        ("", set()),
        ("noai, max-image-preview:large", {"noai"}),
        ("max-image-preview:large, noai", {"noai"}),
        ("max-image-preview: large", set()),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", {"noai"}),
        ("unavailable_after: Saturday, 25-Jun-30 15:00:00 PST, noml", {"noml"}),
        ("none", {"noindex"}),
        ("NoML", {"noml"}),
        ("nofollow, noimageai,noimageindex", {"noimageai", "noimageindex"}),
        ("VisuNex: NOINDEX", {"noindex"}),
        ("*: noai", {"noai"}),
        ("googlebot: noindex", set()),
        ("otherbot: noindex, nofollow, noai", set()),
        ("otherbot: max-snippet:-1, noai", set()),
        ("googlebot: nofollow, visunex: noai", {"noai"}),
        ("noai, googlebot: noindex", {"noai"}),
        ("a: b: noai", set()),
        ("noindex: true, noai: 1", {"noindex", "noai"}),
        ("max-anything-new: 3, noai", {"noai"}),
        (", ,:,", set()),
    ],
)
def test_a_tag_is_split_at_its_commas_and_names_whom_it_means(tag: str, said: set[str]) -> None:
    assert forbidden([tag]) == said


def test_several_headers_count_each_by_itself() -> None:
    assert forbidden(["otherbot: all", "noai", "max-snippet:1"]) == {"noai"}


@pytest.mark.parametrize(("value", "reserved"), [("1", True), (" 1 ", True), ("0", False), ("0, 1", True)])
def test_rights_reserved_for_text_and_data_mining(value: str, reserved: bool) -> None:
    assert ("tdm-reservation" in forbidden([], [value])) == reserved
