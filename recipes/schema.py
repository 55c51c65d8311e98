"""What a recipe says: one section per stage. Unknown keys are errors; `schema_table()` lists every key.

A field's description is its whole documentation: the help of the option, and its row in the README's table.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from visunex.base.text import bytes_in
from visunex.net.robots import DIRECTIVES, Directive

from .choice import Dedupe as Dedupe
from .choice import Filter as Filter
from .choice import Match as Match
from .choice import Score as Score
from .choice import split_keywords as split_keywords
from .defaults import MOST_MOVED
from .encoders import DEFAULT_WEIGHTS, OtherEncoder, parse_encoder
from .section import Count, Number, Text
from .section import Generate as Generate
from .section import Reference as Reference
from .section import Section as Section
from .source import Columns as Columns
from .source import Made as Made
from .source import Source as Source

Reduction = Literal["mean", "unit-mean", "score-weighted", "score-contrast", "median", "contrast"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Preprocess = Literal["auto", "host", "device"]


class Download(Section):
    """How the pictures are fetched and stored."""

    images: Text | None = Field(
        default=None,
        description="Take the pictures from this tar (a path or address; sac-{000..086}.tar: several).",
    )
    min_images: Annotated[
        int, Field(ge=0, description="With fewer pictures than this the command fails.")
    ] = 1
    with_images: bool | None = Field(
        default=None,
        description="Fetch the pictures of rows that have precomputed vectors, too (absent: only where both "
        "are one's own).",
    )
    max_remote_bytes: Text = Field(
        default=MOST_MOVED,
        description="Most bytes moved from files behind addresses with the pictures, or vectors to choose "
        "by, inside: 500MB, 2TB.",
    )
    shard_size: Literal[10, 100, 1000, 10000] | None = Field(
        default=None, description="Candidates in one shard; absent: 10, 100 or 1000, by how many there are."
    )
    processes: Count | None = Field(default=None, description="Worker processes; two per core when absent.")
    threads: Count = Field(default=32, description="Pictures that one process fetches at the same time.")
    deadline: Annotated[
        float, Field(gt=0, le=3600, description="Seconds for one picture, everything included.")
    ] = 30
    retries: Annotated[int, Field(ge=0, le=20, description="Further tries after a reset or a 5xx.")] = 2
    patience: Annotated[
        float,
        Field(gt=0, le=86400, description="Seconds to wait, when nothing answers, for it to come back."),
    ] = 300
    max_bytes: Count = Field(default=32 * 2**20, description="Largest file, as sent and after decoding.")
    host_connections: Count = Field(default=32, description="Connections to one host at the same time.")
    host_rate: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Requests to one host in a second; absent: as many as it takes without a 429 or 503.",
    )
    resize: Count | None = Field(
        default=None, description="Re-encode as JPEG of this size, never larger; absent: original bytes."
    )
    resize_mode: Literal["shortest", "longest", "center-crop"] = Field(
        default="shortest",
        description="What becomes so large: the shorter or longer side, or the square in the middle.",
    )
    check: Literal["structure", "decode"] = Field(
        default="structure",
        description="How a picture is found whole: by its file's structure, or by decoding all of it.",
    )
    min_image_size: Annotated[int, Field(ge=0, description="Smallest shorter side in pixels.")] = 0
    max_pixels: Count = Field(default=100_000_000, description="Most pixels; checked before decoding.")
    max_aspect_ratio: Annotated[float, Field(ge=1)] | None = Field(
        default=None, description="Most that the longer side may be of the shorter."
    )
    dedupe_images: Literal["exact", "near", "none"] = Field(
        default="exact",
        description="Make room for the next candidate where a better one has the same picture.",
    )
    keep_placeholders: bool = Field(
        default=False, description="Keep pictures that three or more addresses serve byte for byte."
    )
    verify_hash: Annotated[str, Field(pattern=r"^(.+:(md5|sha256|sha512)|none)$")] | None = Field(
        default=None,
        description="COLUMN:md5, :sha256 or :sha512, the hash of the picture's file to insist on; none: no "
        "hash (absent: that of sets of which `sources show` says so).",
    )
    exclude_urls: str | None = Field(
        default=None,
        description="A text, CSV, JSON or parquet file of withdrawn URLs or their md5, sha256.",
    )
    contact: str | None = Field(default=None, description="Address or page to name in the User-Agent.")
    user_agent: Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$")] | None = Field(
        default=None, description="The whole User-Agent, in place of VisuNex's own."
    )
    respect: tuple[Directive, ...] = Field(
        default=DIRECTIVES,
        description="What servers say against a use that counts, in X-Robots-Tag or tdm-reservation: the "
        "picture is not taken. Comma-separated or repeated.",
    )
    ignore_robots_tag: bool = Field(default=False, description="Take pictures whatever servers say of use.")
    insecure: bool = Field(default=False, description="Do not verify TLS certificates.")
    allow_private: bool = Field(default=False, description="Fetch from loopback and private addresses too.")

    @property
    def respected(self) -> tuple[Directive, ...]:
        """The directives that count."""
        return () if self.ignore_robots_tag else self.respect

    @field_validator("max_remote_bytes", mode="before")
    @classmethod
    def _size(cls, value: object) -> object:
        """A size as text; a number is one of bytes."""
        size = str(value) if type(value) is int else value
        if isinstance(size, str):
            bytes_in(size)
        return size

    @field_validator("respect", mode="before")
    @classmethod
    def _directives(cls, value: object) -> object:
        """`respect = "noai, noml"` is short for `["noai", "noml"]`."""
        return split_keywords(value) if isinstance(value, str) else value


class Encode(Section):
    """The CLIP image encoder, and how its vectors become one."""

    model: Text = Field(
        default="ViT-L-14", description="Image tower: an open_clip name, local-dir:PATH or visunex-tiny."
    )
    pretrained: Text = Field(
        default=DEFAULT_WEIGHTS, description="Which weights of an open_clip tower; others bring their own."
    )
    also: tuple[Text, ...] = Field(
        default=(),
        description="Further encoders for the same pictures, each read and decoded once: MODEL:WEIGHTS "
        "(ViT-H-14:laion2b_s32b_b79k), local-dir:PATH or visunex-tiny; repeat.",
    )
    precision: Precision = Field(
        default="auto", description="Number format of the tower; auto takes the device's best."
    )
    batch_size: Count | None = Field(
        default=None, description="Pictures per step (default: by device; on a CPU 8 or more)."
    )
    workers: Number | None = Field(
        default=None, description="Processes that decode pictures (default: by cores)."
    )
    compile: bool = Field(
        default=False, description="Compile the tower first (torch.compile): for long runs on a GPU."
    )
    preprocess: Preprocess = Field(
        default="auto",
        description="Resize on the host by Pillow, or on the device by torch; auto: device on a CPU.",
    )
    exact_decode: bool = Field(
        default=False, description="Decode every pixel of JPEGs much larger than the tower sees: slower."
    )
    discard_images: bool = Field(
        default=False,
        description="Keep no picture of the run once its vector is written; parquet and statistics stay.",
    )
    dedupe_images: Literal["exact", "near", "none"] = Field(
        default="none", description="Of pictures given with --images that are the same, take one."
    )
    hold_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0,
        description="Leave this share of the pictures out of the embedding, by a hash of their keys (0.1): "
        "what is drawn with it can be measured by them.",
    )
    reduce: Reduction = Field(default="unit-mean", description="How the image vectors become one embedding.")
    baseline: Text | None = Field(
        default=None, description="For contrast: the run, shards, folder or address whose mean is subtracted."
    )
    precomputed: Text | None = Field(
        default=None,
        description="Take the rows' vectors from this folder, https:// or hf:// address, or known data set.",
    )
    vector_key: Text | None = Field(
        default=None,
        description="Of precomputed .npz files, the array with the vectors (l14_img).",
    )
    vector_column: Text | None = Field(
        default=None, description="Of precomputed parquet files, the column of lists with the vectors."
    )
    vectors: tuple[Text, ...] = Field(
        default=(),
        description="Published vectors, by name or .npy file, in place of pictures.",
    )
    baseline_vectors: tuple[Text, ...] = Field(
        default=(), description="For contrast of published vectors: those whose mean is subtracted."
    )

    @property
    def others(self) -> tuple[OtherEncoder, ...]:
        """The encoders of `also`."""
        return tuple(map(parse_encoder, self.also))

    @property
    def of_each(self) -> "tuple[Encode, ...]":
        """These settings with one encoder each: its own, then those of `also`."""
        alone = self.model_copy(update={"also": ()})
        named = ({"model": each.model, "pretrained": each.pretrained} for each in self.others)
        return alone, *(alone.model_copy(update=each) for each in named)

    @property
    def vectors_place(self) -> str | None:
        """Where precomputed vectors lie, and what they are called in their files."""
        for kind, name in (("key", self.vector_key), ("column", self.vector_column)):
            if self.precomputed is not None and name is not None:
                return f"{self.precomputed}#vector-{kind}={name}"
        return self.precomputed

    @field_validator("also", mode="before")
    @classmethod
    def _one_encoder(cls, value: object) -> object:
        """`also = "NAME"` is short for `["NAME"]`."""
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _others_are_others(self) -> "Encode":
        own = OtherEncoder(self.model, self.pretrained, "").identity
        seen, spaces = {own}, set[str]()
        for text, each in zip(self.also, self.others, strict=True):
            if each.identity in seen or each.space in spaces:
                raise ValueError(f"also names {text} twice, or it is the model itself")
            seen.add(each.identity)
            spaces.add(each.space)
        if self.also and (self.precomputed is not None or self.vectors):
            raise ValueError(
                "also has pictures encoded, and precomputed and vectors take published vectors in their place"
            )
        return self

    @model_validator(mode="after")
    def _held_out_images_are_there(self) -> "Encode":
        if self.hold_out and (self.precomputed is not None or self.vectors):
            raise ValueError(
                "hold_out leaves pictures out: precomputed and vectors take published vectors in their place"
            )
        return self

    @model_validator(mode="after")
    def _vectors_are_in_one_kind_of_file(self) -> "Encode":
        if self.vector_key is not None and self.vector_column is not None:
            raise ValueError("vector_key is of .npz files, vector_column of parquet: one of them")
        if self.precomputed is None and (self.vector_key or self.vector_column):
            raise ValueError("vector_key and vector_column say where in its files precomputed vectors lie")
        return self

    @model_validator(mode="after")
    def _contrast_has_baseline(self) -> "Encode":
        if self.baseline_vectors and (self.baseline is not None or not self.vectors):
            raise ValueError("baseline_vectors stand against vectors, in the place of baseline")
        if (self.reduce == "contrast") != (self.baseline is not None or bool(self.baseline_vectors)):
            raise ValueError(
                'reduce = "contrast" and baseline belong together: one without the other means nothing'
            )
        return self


class Engine(Section):
    """Where the work is done: it decides nothing of what is made."""

    name: Literal["local", "ray"] = Field(
        default="local", description="This machine, or a Ray cluster whose nodes all see the run's folder."
    )
    address: Text | None = Field(
        default=None,
        description="Of Ray: auto (the cluster that this machine is in), HOST or HOST:PORT of its head; "
        "absent: one of this machine alone.",
    )
    workers: Count | None = Field(
        default=None, description="Processes that fetch, on all nodes together; absent: as many as have room."
    )
    worker_cpus: Annotated[float, Field(gt=0, description="Cores of a node for each that fetches.")] = 1
    encoders: Count | None = Field(
        default=None, description="Processes that encode, on all nodes; absent: as many as have room."
    )
    encoder_cpus: Annotated[float, Field(gt=0, description="Cores of a node for each that encodes.")] = 1
    encoder_gpus: Annotated[
        float, Field(ge=0, description="GPUs of a node for each that encodes; 0: on its cores.")
    ] = 0


class Recipe(Section):
    """Everything needed to make one aesthetic embedding, and to make it again."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Name of the recipe: letters, digits, dot, dash and underscore."
    )
    description: str = Field(default="", description="What the recipe is for.")
    source: Source = Source()
    filter: Filter = Filter()
    download: Download = Download()
    encode: Encode = Encode()
    engine: Engine = Engine()
    reference: Reference | None = None
    generate: Generate = Generate()

    @model_validator(mode="after")
    def _enough_are_asked_for(self) -> "Recipe":
        if self.download.min_images > self.filter.top:
            raise ValueError(
                f"download.min_images = {self.download.min_images} can never be reached: filter.top asks for "
                f"{self.filter.top} pictures"
            )
        return self

    @field_validator("source", mode="before")
    @classmethod
    def _bare_source(cls, value: object) -> object:
        """`source = "name"` is short for `[source] data = "name"`."""
        return {"data": value} if isinstance(value, str) else value
