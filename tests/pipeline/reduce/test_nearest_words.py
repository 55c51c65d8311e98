"""What an embedding is about, in the words of the captions."""

import numpy as np

from visunex.clip.factory import load_text_encoder
from visunex.pipeline.reduce.nearest_words import frequent_words, word_vectors


def test_the_nearest_words_are_those_of_the_subject() -> None:
    encoder = load_text_encoder("visunex-tiny")
    castle = encoder.encode(["a castle"])
    captions = ["a castle at night", "a ship at sea", "flowers", None, "a mountain and a moon"]
    words = word_vectors(captions, encoder)
    assert words is not None
    nearest = words.nearest(castle.astype(np.float32), count=3)
    assert nearest[0].word == "castle"
    assert [each.cosine for each in nearest] == sorted((each.cosine for each in nearest), reverse=True)


def test_no_captions_no_words() -> None:
    encoder = load_text_encoder("visunex-tiny")
    assert word_vectors([None, "", "12 34"], encoder) is None


def test_frequent_words_come_first_and_common_ones_are_left_out() -> None:
    captions = ["The Ship and the sea", "ship, ship, ship", "Segelschiff über dem Meer", "sea"]
    assert frequent_words(captions) == ["sea", "ship", "dem", "meer", "segelschiff", "über"]
    assert frequent_words(captions, most=1) == ["sea"]
