"""What the figures of an embedding say, and its comparison with the published one."""

from visunex.pipeline.reduce.checks import Checks, ReferenceCheck


def test_a_reference_that_is_not_here_is_only_a_note() -> None:
    check = ReferenceCheck(
        "fantasy", note="it is not on this machine", downloaded=1873, wanted=2000, tolerance=1e-3
    )
    check.require_reproduced()
    assert check.lines() == [
        "  not compared to fantasy: it is not on this machine, 1,873 of the 2,000 wanted images were had"
    ]


def test_json_has_the_keys_that_files_had_before() -> None:
    check = ReferenceCheck("fantasy", cosine=0.9, downloaded=3, wanted=4)
    said = Checks(1.5, None, check).as_dict()
    assert list(said) == ["norm", "mean_pairwise_cosine", "reference"]
    names = "name cosine largest_difference tolerance note low high had wanted"
    assert list(said["reference"]) == names.split()
    assert (said["norm"], said["reference"]["had"]) == (1.5, 3)
    assert Checks(1.5, None).as_dict()["reference"] is None
