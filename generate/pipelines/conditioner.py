"""Prompts -> what conditions a model's sampler, plain or moved, each computed once per run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from visunex.aesthetic_embeddings.space import space_said

from ..adapters import ip_adapter, pooled
from ..controls import Steering, Towards
from ..errors import UsageError
from ..families.names import check_text_encoder
from ..families.sd1.text_encoder import openai_text_encoder
from ..settings import PromptSyntax, TextEncoder
from ..steering import steer
from .chunked import read_in_chunks, zeros_for_nothing
from .conditioning import Conditioning
from .encoders import Encoders, How
from .rooms import Room, rooms_of
from .targets import assign

if TYPE_CHECKING:
    from ..families.model import Model

__all__ = ["Conditioner", "Conditioning"]


class Conditioner:
    """The text side of a model: prompts -> `Conditioning` of one image, kept for as long as this lives.

    With `text_encoder` `openai` OpenAI's own CLIP reads the prompts of Stable Diffusion 1.x, as in the
    original script; the negative prompt is the model's in either case. `clip_skip` counts as the web UI does:
    1 is the model's own hidden state, 2 leaves one layer more out. Raises UsageError for another family.
    """

    def __init__(self, model: "Model", *, text_encoder: TextEncoder = "model") -> None:
        check_text_encoder(text_encoder, model.KIND, model.name)
        self.model = model
        self.text_encoder: TextEncoder = text_encoder
        self._computed: dict[tuple[object, ...], Conditioning] = {}

    def prompt(
        self,
        text: str,
        towards: "Steering | Towards | None" = None,
        on_step: steer.OnStep | None = None,
        *,
        clip_skip: int = 1,
        syntax: PromptSyntax = "plain",
    ) -> Conditioning:
        """The conditioning of one prompt, moved `towards` tastes; the empty prompt never is.

        In the `syntax` `webui` it has weights, and is as long as it comes to in chunks.
        `on_step(step, cosine)` is called before each step. Raises what `require` does, UsageError for what
        the syntax does not do here, SteeringError for steps that run away to values that are not numbers, and
        CheckpointError where the text projection cannot be had.
        """
        steering = Steering.of(towards)
        if steering is not None and (steering.idle or (steering.method == "steer" and not text.strip())):
            steering = None
        key = (syntax, text, clip_skip, *(steering.key if steering else ()))
        if steering is not None and steering.method != "steer":
            return self._once(key, lambda: self._as_image(text, clip_skip, syntax, steering))
        if syntax == "webui":
            return self._once(key, lambda: self._in_chunks(self._reading, text, clip_skip, steering, on_step))
        if steering is None:
            return self._once(key, lambda: self._plain(text, clip_skip))
        return self._once(key, lambda: self._moved(text, clip_skip, steering, on_step))

    def negative(self, text: str, *, clip_skip: int = 1, syntax: PromptSyntax = "plain") -> Conditioning:
        """The conditioning of the negative (or empty) prompt, by the model's own text encoders."""
        if syntax == "webui" and (text.strip() or not zeros_for_nothing(self._own.pipe)):
            compute = partial(self._in_chunks, self._own, text, clip_skip)
        else:
            compute = partial(self._negative, text, clip_skip)
        return self._once(("negative", syntax, text, clip_skip), compute)

    def require(self, towards: "Steering | Towards | None") -> None:
        """Raise EmbeddingError or UsageError where a taste cannot move what reads the prompts here.

        CheckpointError where an encoder brings no text projection and none fits it.
        """
        steering = Steering.of(towards)
        if steering is None or steering.idle:
            return
        if steering.method == "steer":
            self._how(self._reading, steering)
        else:
            self.prompt("", steering)

    def tokens(self, text: str) -> Tensor:
        """The first text encoder's token ids `[1, L]` on the model's device, cut and padded to its length."""
        tokenizer, _ = self.model.readers[0]
        length = tokenizer.model_max_length
        ids: Tensor = tokenizer(
            text, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        return ids.to(self.model.device)

    @property
    def pipe(self) -> Any:
        """diffusers' own pipeline of the model, whose text encoders read the prompts."""
        return self._reading.pipe

    @property
    def rooms(self) -> list[Room]:
        """The text encoders that read the prompts, each with its tokenizer, projection and CLIP's space."""
        return self._reading.rooms

    def surplus(self, text: str) -> int:
        """How many tokens of `text` are beyond the text encoders' length and left out."""
        lengths = (
            len(tokenizer(text, verbose=False).input_ids) - tokenizer.model_max_length
            for tokenizer, _ in self.model.readers
        )
        return max(0, *lengths)

    def _once(self, key: tuple[object, ...], compute: Any) -> Conditioning:
        if key not in self._computed:
            self._computed[key] = compute()
        return self._computed[key]

    def _plain(self, text: str, clip_skip: int) -> Conditioning:
        found = self._asked(self._reading, clip_skip, prompt=text, do_classifier_free_guidance=False)
        return Conditioning(found["prompt_embeds"], found.get("pooled_prompt_embeds"))

    def _moved(
        self, text: str, clip_skip: int, steering: Steering, on_step: steer.OnStep | None
    ) -> Conditioning:
        plain = self.prompt(text, clip_skip=clip_skip)
        found = {"prompt_embeds": plain.hidden}
        found |= {} if plain.pooled is None else {"pooled_prompt_embeds": plain.pooled}
        encoders = self._skipping(self._reading, clip_skip)
        how = replace(self._how(encoders, steering), on_step=on_step)
        moved, climbs = encoders.moved(found, {"prompt": [text]}, how)
        return Conditioning(moved["prompt_embeds"], moved.get("pooled_prompt_embeds"), (tuple(climbs[0]),))

    def _as_image(self, text: str, clip_skip: int, syntax: PromptSyntax, steering: Steering) -> Conditioning:
        """The plain conditioning with the taste as an image's vector, where the model takes such."""
        plain = self.prompt(text, clip_skip=clip_skip, syntax=syntax)
        if steering.method == "ip-adapter":
            found = ip_adapter(self.pipe, steering.taste, guidance=False)["ip_adapter_image_embeds"]
            return replace(plain, image=found[0], scale=steering.controls.blend)
        if plain.pooled is None:
            raise UsageError(
                f"{self.model.name} takes no pooled vector, SDXL does: steer it (--method steer), or give an "
                "adapter (--method ip-adapter --adapter FILE)"
            )
        own = {"pooled_prompt_embeds": plain.pooled}
        weight = steering.controls.blend
        given = pooled(self.pipe, None, steering.taste, weight=weight, conditioning=own)
        return replace(plain, pooled=given["pooled_prompt_embeds"])

    def _negative(self, text: str, clip_skip: int) -> Conditioning:
        # None is the empty prompt, for which some models take zeros.
        found = self._asked(self._own, clip_skip, prompt="", negative_prompt=text or None)
        hidden = found["negative_prompt_embeds"]
        return Conditioning(hidden, found.get("negative_pooled_prompt_embeds"), filling=hidden)

    def _in_chunks(
        self,
        encoders: Encoders,
        text: str,
        clip_skip: int,
        steering: Steering | None = None,
        on_step: steer.OnStep | None = None,
    ) -> Conditioning:
        """A prompt in the web UI's syntax."""
        at = self._skipping(encoders, clip_skip)
        how = None if steering is None else replace(self._how(at, steering), on_step=on_step)
        with self._here(at):
            return read_in_chunks(at, {room.encoder.part: text for room in at.rooms}, how)

    def _asked(self, encoders: Encoders, clip_skip: int, **asked: Any) -> dict[str, Tensor]:
        """What the pipeline itself makes of prompts."""
        self._skipping(encoders, clip_skip)
        more = {"clip_skip": clip_skip - 1} if clip_skip > 1 else {}
        with self._here(encoders):
            return encoders.plain({**asked, **more, "device": self.model.device, "num_images_per_prompt": 1})

    def _skipping(self, encoders: Encoders, clip_skip: int) -> Encoders:
        """The text encoders with as many layers left out. Raises UsageError for more than there are."""
        most = 1 + min(
            len(room.text_model.encoder.layers) - (room.encoder.skipped or 0) for room in encoders.rooms
        )
        if clip_skip > most:
            raise UsageError(
                f"--clip_skip {clip_skip} leaves out more layers than {self.model.name} has: give 1 to {most}"
            )
        found = replace(encoders, clip_skip=clip_skip - 1)
        found.check_layers()
        return found

    @contextmanager
    def _here(self, encoders: Encoders) -> Iterator[None]:
        """The text encoders on the model's device while the block runs."""
        parts = (part for name, part in encoders.pipe.components.items() if name.startswith("text_encoder"))
        with ExitStack() as stack:
            for part in parts:
                if part is not None:
                    stack.enter_context(self.model.on_device(part))
            yield

    def _how(self, encoders: Encoders, steering: Steering) -> How:
        for room in encoders.rooms:
            if room.size is None:
                room.projection()  # which says what is missing
        chosen = assign(list(steering.tastes), encoders.rooms, self.model.name)
        how = How(chosen, steering.controls, strict=False)
        encoders.check(how)
        return how

    @cached_property
    def _own(self) -> Encoders:
        """By the model's own text encoders."""
        return self._encoders(self.model.pipeline(), self.model.own_projection)

    @cached_property
    def _reading(self) -> Encoders:
        """By the text encoders that read the prompts."""
        if self.text_encoder == "model":
            return self._own
        encoder, projection = openai_text_encoder()
        self._check_size(encoder.config)
        encoder.to("cpu" if self.model.lowvram else self.model.device)
        return self._encoders(self.model.pipeline(text_encoder=encoder), projection)

    def _encoders(self, pipe: Any, projection: Tensor | None) -> Encoders:
        family, space = self.model.family, space_said(self.model.clip)
        return Encoders(pipe, family, rooms_of(pipe, family, projection, space), self.model.device)

    def _check_size(self, theirs: Any) -> None:
        own = self.model.text_encoder.config
        if (theirs.hidden_size, theirs.vocab_size) != (own.hidden_size, own.vocab_size):
            raise UsageError(
                f"--text-encoder openai does not fit {self.model.name}: its text tower is "
                f"{own.hidden_size} wide, OpenAI's {theirs.hidden_size}"
            )
