"""What a transform is called and takes; what it does lives in the `transform` room."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recfold.spec.settings import Settings


class Hash(Settings):
    """Ids of any type to rows `[0, rows)`: hash modulo rows; a null id has a row of its own choosing too."""

    op: Literal["hash"] = "hash"
    rows: int = Field(gt=0)
    seed: int = Field(default=0, ge=0)


class Truncate(Settings):
    """Keep at most `length` elements: the last ones (`keep="last"`: newest in a history) or the first."""

    op: Literal["truncate"] = "truncate"
    length: int = Field(gt=0)
    keep: Literal["last", "first"] = "last"


class Clip(Settings):
    """Bound dense values to [low, high]; NaN stays NaN."""

    op: Literal["clip"] = "clip"
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> "Clip":
        if not self.low <= self.high:
            raise ValueError(f"clip needs low <= high, got low={self.low}, high={self.high}")
        return self


class Log(Settings):
    """Signed logarithm of dense values: sign(x) * log(1 + |x|)."""

    op: Literal["log"] = "log"


class Fill(Settings):
    """Replace null and NaN dense values by `value`. Without it null becomes 0 and NaN stays NaN."""

    op: Literal["fill"] = "fill"
    value: float = 0.0


class Bucketize(Settings):
    """Dense values to ids: the number of `borders` that are <= x; NaN and null get the id after the last bucket.

    A dense feature becomes an `id` feature, a dense sequence a sequence; `len(borders) + 2` rows.
    """

    op: Literal["bucketize"] = "bucketize"
    borders: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rising(self) -> "Bucketize":
        if any(b <= a for a, b in zip(self.borders, self.borders[1:], strict=False)):
            raise ValueError("bucketize needs strictly rising borders")
        return self


class Cross(Settings):
    """Ids of this feature crossed with ids of another of the same group: every pair, hashed to `[0, rows)`."""

    op: Literal["cross"] = "cross"
    other: str
    rows: int = Field(gt=0)


class Ngram(Settings):
    """Every run of `n` neighbouring ids of a list, hashed to `[0, rows)`; lists shorter than n become empty."""

    op: Literal["ngram"] = "ngram"
    n: int = Field(ge=2)
    rows: int = Field(gt=0)


TransformSpec = Annotated[Hash | Truncate | Clip | Log | Fill | Bucketize | Cross | Ngram, Field(discriminator="op")]
