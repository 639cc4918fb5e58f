"""The family of transforms, and the one call that applies a feature's."""

from collections.abc import Callable, Mapping, Sequence

from recfold.spec import InputError, Schema
from recfold.spec.schema import ID_KINDS, LIST_KINDS, FeatureSpec, Kind
from recfold.spec.transforms import Cross, TransformSpec
from recfold.transform.bucketize import bucketize, bucketize_reference
from recfold.transform.clip import clip, clip_reference
from recfold.transform.cross import cross, cross_reference
from recfold.transform.fill import fill, fill_reference
from recfold.transform.hash import hash_ids, hash_reference
from recfold.transform.lists import Lists
from recfold.transform.log import log, log_reference
from recfold.transform.ngram import ngram, ngram_reference
from recfold.transform.row import Row
from recfold.transform.truncate import truncate, truncate_reference

TRANSFORMS: dict[str, Callable[..., Lists]] = {
    "hash": hash_ids,
    "truncate": truncate,
    "clip": clip,
    "log": log,
    "fill": fill,
    "bucketize": bucketize,
    "cross": cross,
    "ngram": ngram,
}
"""op -> `(lists, spec) -> lists`; `cross` also takes the other feature's lists."""

REFERENCES: dict[str, Callable[..., Row]] = {
    "hash": hash_reference,
    "truncate": truncate_reference,
    "clip": clip_reference,
    "log": log_reference,
    "fill": fill_reference,
    "bucketize": bucketize_reference,
    "cross": cross_reference,
    "ngram": ngram_reference,
}
"""The slow twins, for one list each."""

_TAKES: dict[str, tuple[Kind, ...]] = {
    "hash": ID_KINDS,
    "truncate": LIST_KINDS,
    "clip": ("dense", "dense_sequence", "vector"),
    "log": ("dense", "dense_sequence", "vector"),
    "fill": ("dense", "dense_sequence", "vector"),
    "bucketize": ("dense", "dense_sequence"),
    "cross": ID_KINDS,
    "ngram": ("ids", "sequence"),
}


def apply(lists: Lists, transforms: Sequence[TransformSpec], others: Mapping[str, Lists] | None = None) -> Lists:
    """Apply a feature's transforms in order, once per distinct list.

    Args:
        lists: the feature's U distinct lists as stored.
        transforms: as its `FeatureSpec` says.
        others: stored lists of the features of its group, for `cross`.

    Example:
        >>> from recfold.spec.transforms import Hash, Truncate
        >>> apply(Lists.from_pylists([[7, 8, 9]]), [Hash(rows=8), Truncate(length=2)]).to_pylists()
        [[6, 4]]
    """
    for spec in transforms:
        if isinstance(spec, Cross):
            lists = cross(lists, spec, (others or {})[spec.other])
        else:
            lists = TRANSFORMS[spec.op](lists, spec)
    return lists


def apply_reference(row: Row, transforms: Sequence[TransformSpec], others: Mapping[str, Row] | None = None) -> Row:
    """The slow twin of `apply` for one list."""
    for spec in transforms:
        if isinstance(spec, Cross):
            row = cross_reference(row, spec, (others or {})[spec.other])
        else:
            row = REFERENCES[spec.op](row, spec)
    return row


def kind_after(feature: FeatureSpec, name: str = "", schema: Schema | None = None) -> Kind:
    """What kind a feature is after its transforms: bucketize makes ids of dense values.

    Args:
        feature: the feature.
        name: for the error message.
        schema: checks, where given, that a crossed feature is of ids and in the same group.
    Raises:
        InputError: a transform that the kind does not take.

    Example:
        >>> from recfold.spec.transforms import Bucketize
        >>> kind_after(FeatureSpec(kind="dense", transforms=(Bucketize(borders=(0,)),)))
        'id'
    """
    kind = feature.kind
    for spec in feature.transforms:
        if kind not in _TAKES[spec.op]:
            raise InputError(
                f"feature {name!r} of kind {kind} cannot be transformed by {spec.op!r}",
                expected=f"kind {' or '.join(_TAKES[spec.op])}",
                todo="take the transform away or change the feature's kind",
            )
        if spec.op == "bucketize":
            kind = "id" if kind == "dense" else "sequence"
        if isinstance(spec, Cross) and schema is not None:
            other = schema.features[spec.other]
            if other.kind not in ID_KINDS:
                raise InputError(f"feature {name!r} is crossed with {spec.other!r}, which is {other.kind}, not ids")
            if schema.group_of(name) != schema.group_of(spec.other):
                raise InputError(
                    f"feature {name!r} is crossed with {spec.other!r} of another group",
                    got=f"{schema.group_of(name)} and {schema.group_of(spec.other)}",
                    todo="put both in one group",
                )
            kind = "ids" if kind == "id" and other.kind != "id" else kind
    return kind


def check_transforms(schema: Schema) -> dict[str, Kind]:
    """Every feature's kind after its transforms.

    Raises:
        InputError: the first feature with a transform that its kind does not take, or with a cross out of its group.
    """
    return {name: kind_after(feature, name, schema) for name, feature in schema.features.items()}
