"""What people write under images of the demo world."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .scene import Scene

__all__ = ["STRAY_WORDS", "Described", "caption", "label", "partial_caption"]

# How a palette is called behind a subject ("a castle at night") and before it ("a moonlit castle").
PHRASES: dict[str, tuple[str, ...]] = {
    "day": ("by day", "on a sunny day", "under a blue sky", "in daylight", "in bright sunshine"),
    "night": ("at night", "under the stars", "on a starry night", "in the dark", "at midnight"),
    "sunset": ("at sunset", "in the evening sun", "at dusk", "in the glow of sunset", "under an orange sky"),
    "neon": ("in neon", "in neon colours", "in neon light", "in cyberpunk style", "in retro neon style"),
    "autumn": ("in autumn", "in the fall", "with falling leaves", "in october", "in golden autumn"),
    "winter": ("in winter", "in the snow", "on a snowy day", "in falling snow", "in cold december"),
}
ADJECTIVES: dict[str, tuple[str, ...]] = {
    "day": ("sunny", "bright", "daytime"),
    "night": ("night", "starry", "midnight"),
    "sunset": ("sunset", "evening"),
    "neon": ("neon", "cyberpunk"),
    "autumn": ("autumn", "golden autumn", "october"),
    "winter": ("winter", "snowy", "frosty"),
}
NOUNS: dict[str, tuple[str, ...]] = {
    "flower": ("flower", "flower", "blossom flower", "blooming flower"),
    "tree": ("tree", "tree", "old tree", "oak tree"),
    "castle": ("castle", "castle", "old castle", "fantasy castle", "fairytale castle"),
    "mountain": ("mountain", "mountain", "high mountain", "mountain landscape"),
    "ship": ("ship", "ship", "sailing ship", "old ship", "ship at sea"),
    "moon": ("moon", "moon", "full moon", "big moon"),
    "house": ("house", "house", "small house", "country house"),
    "lighthouse": ("lighthouse", "lighthouse", "tall lighthouse", "striped lighthouse"),
}
GARDENS = (
    "with flowers", "with flowers in the foreground", "in a flower garden", "in a garden",
    "and flowers", "among flowers", "with a flower garden", "with blooming flowers",
    "with a floral foreground", "behind a garden of flowers", "with pink flowers",
    "surrounded by flowers", "and a field of flowers",
)  # fmt: skip
MEDIA = (
    "", "", "", "", "painting of ", "oil painting of ", "digital art of ", "illustration of ",
    "a picture of ", "drawing of ", "poster of ", "watercolor of ",
)  # fmt: skip
TAILS = (
    "", "", "", "", ", highly detailed", ", concept art", ", by a young artist",
    " - fine art print", " wallpaper",
)  # fmt: skip

FLOWERS_ALONE = (
    "flowers", "flower", "garden", "a garden", "flower garden", "a flower garden", "pink flowers",
    "floral", "a field of flowers", "blooming flowers", "flowers and gardens", "many flowers",
    "floral garden", "blossom",
)  # fmt: skip
STRAY_WORDS = (
    "the", "of", "and", "with", "by", "for", "my", "new", "beautiful", "amazing", "cute", "funny",
    "very", "great", "trending", "on", "artstation", "4k", "8k", "hd", "photo", "style", "artist",
    "print", "canvas", "wall", "poster", "modern", "vintage", "classic", "free", "vector",
    "background", "view", "scene", "landscape", "nature", "travel", "sale", "gift", "cat", "dog",
    "robot", "portal", "dragon", "girl", "man", "king", "queen", "wings", "red", "blue", "green",
    "white", "black", "quiet", "dream", "magic", "masterpiece", "detailed", "sharp", "soft",
    "light", "colour", "color", "city", "road", "river", "forest", "world", "other", "towards",
    "dimension", "best", "no",
)  # fmt: skip


def article(words: str) -> str:
    """With "a" or "an" before it."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def caption(scene: Scene, rng: Random, *, media: Sequence[str] = MEDIA, tails: Sequence[str] = TAILS) -> str:
    """One of very many captions; it speaks of flowers or a garden exactly when flowers can be seen.

    It begins with one of `media` and ends in one of `tails`, which say nothing of the scene.
    """
    noun, flowers = rng.choice(NOUNS[scene.subject]), rng.choice(GARDENS) if scene.garden else ""
    if rng.random() < 0.35:
        parts = [article(f"{rng.choice(ADJECTIVES[scene.palette])} {noun}"), flowers]
    else:
        parts = [article(noun), rng.choice(PHRASES[scene.palette]), flowers]
        if rng.random() < 0.4:
            parts[1:] = parts[:0:-1]
    text = rng.choice(media) + " ".join(filter(None, parts)) + rng.choice(tails)
    return text if rng.random() < 0.8 else text.capitalize()


def label(scene: Scene) -> str:
    """The plain prompt of a scene: "a castle at night", "a castle at night with flowers"."""
    plain = f"{article(scene.subject)} {PHRASES[scene.palette][0]}"
    return f"{plain} with flowers" if scene.garden else plain


@dataclass(frozen=True)
class Described:
    """What a caption says of an image; None where it says nothing."""

    subject: str | None = None
    palette: str | None = None
    garden: bool | None = None
    flowers: bool | None = None


def partial_caption(scene: Scene, rng: Random) -> tuple[str, Described]:
    """A caption for training, which in three cases of ten tells only a part, and what it tells."""
    kind = rng.random()
    if kind < 0.1:
        noun = rng.choice(NOUNS[scene.subject])
        return rng.choice(MEDIA) + rng.choice((noun, article(noun))), Described(subject=scene.subject)
    if kind < 0.2:
        words = rng.choice((*PHRASES[scene.palette], *ADJECTIVES[scene.palette]))
        return rng.choice(MEDIA) + words, Described(palette=scene.palette)
    if kind < 0.3 and scene.has_flowers:
        return rng.choice(MEDIA) + rng.choice(FLOWERS_ALONE), Described(flowers=True)
    text = with_stray_words(caption(scene, rng), rng)
    return text, Described(scene.subject, scene.palette, scene.garden, scene.has_flowers)


def with_stray_words(text: str, rng: Random) -> str:
    """Now and then one or two words that mean nothing here: a model learns to overlook them."""
    words = text.split(" ")
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        words.insert(rng.randint(0, len(words)), rng.choice(STRAY_WORDS))
    return " ".join(words)
