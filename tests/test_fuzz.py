"""Mutated inputs of every kind are accepted or refused by name. A fixed seed; `make fuzz` has many more."""

import os

import pytest
from fuzz import kinds
from fuzz.campaign import fuzz
from fuzz.loader import LOADERS

COUNT = int(os.environ.get("VISUNEX_FUZZ", "25"))  # of each

pytestmark = pytest.mark.fuzz


def test_mutated_inputs_are_accepted_or_refused_by_name() -> None:
    """No error that is not ours, no end by a signal, no 2 GB and no 10 s, of any input."""
    assert {each.read.__module__.rpartition(".")[2] for each in LOADERS.values()} == {*kinds.__all__}
    found = fuzz(list(LOADERS), COUNT)
    assert [(name, fault) for name, counts in found.items() for fault in counts.faults] == []
    assert all(counts.inputs > 0 for counts in found.values())
    assert sum(counts.outcomes["accepted"] for counts in found.values()) > len(found)
