"""From a document as a user wrote it to a checked `Resource`, and back to the document that is shown.

Three forms: the *user document* (`apiVersion, kind, metadata, spec`), the *stored document* (`labels, spec,
allocation`, canonical, what the store holds as JSON), and the *shown document* (the user document plus `status`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec
from pydantic import BaseModel, ValidationError

from suanwang.model.errors import INVALID, ErrorList, Place, SuanwangError, code
from suanwang.model.reading import LocatedDict, line_of, path_text
from suanwang.model.reference import Key, is_name
from suanwang.model.registry import Kind, Registry, Resource, bare_references, nearest, references

API_VERSION = "suanwang/v1"

UNKNOWN_FIELD = code("UNKNOWN_FIELD", "the kind has no field of that name")
MISSING_FIELD = code("MISSING_FIELD", "a field that the kind requires is not there")
WRONG_VERSION = code("WRONG_VERSION", "the apiVersion is not one that this release reads")

MOST_ERRORS = 50
MOST_LABELS = 64
LONGEST_MESSAGE = 500


def check(document: Mapping[str, Any], registry: Registry, file: str = "") -> Resource:
    """The resource that a user document declares. Raises an error, or an ErrorList of all that is wrong with it."""
    errors: list[SuanwangError] = []

    def complain(code: str, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        text = message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"
        errors.append(SuanwangError(code, text, hint, Place(file, line_of(document, path), path_text(path))))

    version = document.get("apiVersion")
    if version != API_VERSION:
        complain(WRONG_VERSION, ("apiVersion",), f"apiVersion is {_quoted(version)}", f"write {API_VERSION}")
    for name in document:
        if name not in {"apiVersion", "kind", "metadata", "spec", "status"}:
            hint = nearest(name, ("apiVersion", "kind", "metadata", "spec"), "fields")
            complain(UNKNOWN_FIELD, (name,), f"a resource has no field {name!r}", hint)
    if document.get("kind") is None:
        complain(MISSING_FIELD, ("kind",), "kind is missing", "write kind: Vpc, say")
        raise _together(errors)
    try:
        kind = registry.kind(str(document["kind"]))
    except SuanwangError as problem:
        complain(problem.code, ("kind",), problem.message, problem.hint)
        raise _together(errors) from None
    key, labels = _metadata(document.get("metadata"), kind, complain)
    spec = document.get("spec")
    try:
        checked = kind.spec.model_validate({} if spec is None else spec)
        if any("/" in reference for _, _, reference in references(kind.spec, spec)):
            checked = kind.spec.model_validate(bare_references(kind.spec, spec, key.tenant))
    except ValidationError as problem:
        for complaint in _explanations(kind.spec, problem):
            complain(*complaint)
    if errors:
        raise _together(errors)
    return Resource(key, checked, labels)


def stored_document(resource: Resource) -> dict[str, Any]:
    """The canonical document that the store holds."""
    spec = resource.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    document = {"labels": dict(resource.labels), "spec": spec, "allocation": dict(resource.allocation)}
    return {**document, "set": resource.set} if resource.set else document


def encode(document: Mapping[str, Any]) -> bytes:
    """A stored document as canonical JSON: keys sorted, so equal documents are equal bytes."""
    return msgspec.json.encode(document, order="sorted")


def decode(body: bytes) -> dict[str, Any]:
    """The inverse of `encode`."""
    document: dict[str, Any] = msgspec.json.decode(body)
    return document


def shown_document(key: Key, body: bytes, status: bytes | None, revision: int) -> dict[str, Any]:
    """The document as users see it: what they declared, what was allocated, and the conditions."""
    stored = decode(body)
    metadata: dict[str, Any] = {"name": key.name}
    if key.tenant:
        metadata["tenant"] = key.tenant
    if stored.get("labels"):
        metadata["labels"] = stored["labels"]
    metadata["revision"] = revision
    shown = {"apiVersion": API_VERSION, "kind": key.kind, "metadata": metadata, "spec": stored["spec"]}
    found = {**stored.get("allocation", {}), **(decode(status) if status else {})}
    return {**shown, "status": found} if found else shown


def _together(errors: list[SuanwangError]) -> SuanwangError:
    return errors[0] if len(errors) == 1 else ErrorList(errors)


def _metadata(metadata: Any, kind: Kind, complain: Any) -> tuple[Key, dict[str, str]]:
    if not isinstance(metadata, dict):
        missing = MISSING_FIELD, "metadata is missing"
        code, message = missing if metadata is None else (INVALID, f"{_quoted(metadata)} does not fit here")
        complain(code, ("metadata",), message, "write metadata: {name: …}")
        return Key(kind.name, "", ""), {}
    # `revision` is written by the system; it is read back and ignored so that shown documents can be applied again.
    allowed = ("name", "tenant", "labels", "revision") if kind.scope == "tenant" else ("name", "labels", "revision")
    for field in metadata:
        if field not in allowed:
            what = "is infrastructure and has no tenant" if field == "tenant" else f"has no metadata field {field!r}"
            complain(UNKNOWN_FIELD, ("metadata", field), f"{kind.name} {what}", nearest(field, allowed, "fields"))
    names = {}
    for field in ("name", "tenant") if kind.scope == "tenant" else ("name",):
        value = metadata.get(field)
        if value is None:
            complain(MISSING_FIELD, ("metadata", field), f"metadata.{field} is missing", f"every {kind.name} has one")
        elif not isinstance(value, str) or not is_name(value):
            hint = (
                "use lower-case letters, digits, '-' and '.', at most 63, beginning and ending with a letter or digit"
            )
            complain(INVALID, ("metadata", field), f"{_quoted(value)} is no name", hint)
        names[field] = value if isinstance(value, str) else ""
    labels = metadata.get("labels") or {}
    if not isinstance(labels, dict) or len(labels) > MOST_LABELS:
        complain(INVALID, ("metadata", "labels"), f"labels must be a mapping of at most {MOST_LABELS} names to texts")
        labels = {}
    for label, value in labels.items():
        if not isinstance(value, str) or len(value) > 253 or len(label) > 253:
            complain(INVALID, ("metadata", "labels", label), "a label is a short text", 'quote numbers: "1"')
    return Key(kind.name, names.get("tenant", ""), names["name"]), {str(k): str(v) for k, v in labels.items()}


_Complaint = tuple[str, tuple[str | int, ...], str, str]
"""Code, path, message, hint."""


def _explanations(spec: type[BaseModel], problem: ValidationError) -> Iterator[_Complaint]:
    """What pydantic complains of, in our words; of one value only once, whatever branches of a union it fails."""
    found: dict[tuple[str | int, ...], _Complaint] = {}
    for detail in problem.errors(include_url=False)[:MOST_ERRORS]:
        code, path, message, hint = _explain(spec, detail)
        before = found.get(path)
        if before is not None and before[2] == message and hint not in before[3]:
            hint = f"{before[3]}, or {hint.removeprefix('it must ')}"
        elif before is not None:
            continue
        found[path] = code, path, message, hint
    yield from found.values()


def _explain(spec: type[BaseModel], detail: Any) -> _Complaint:
    kind, loc = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        above, models = _walk(spec, loc[:-1])
        fields = [field.alias or name for model in models for name, field in model.model_fields.items()]
        hint = nearest(str(loc[-1]), fields, "fields")
        return UNKNOWN_FIELD, ("spec", *above, loc[-1]), f"there is no field {loc[-1]!r} here", hint
    path = ("spec", *_walk(spec, loc)[0])
    if kind == "missing":
        return MISSING_FIELD, path, f"{loc[-1]} is missing", ""
    text = str(detail["msg"])
    if kind in {"model_type", "model_attributes_type"}:
        return INVALID, path, f"{_quoted(detail['input'])} does not fit here", "it must be a mapping of fields"
    if text.startswith("Input should "):
        hint = f"it must {text.removeprefix('Input should ')}"
        return INVALID, path, f"{_quoted(detail['input'])} does not fit here", hint
    message, _, hint = text.removeprefix("Value error, ").partition("; ")
    return INVALID, path, message, hint


def _quoted(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _walk(spec: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], list[type[BaseModel]]]:
    """The user's path to a pydantic location, and the models whose fields may stand there.

    pydantic also puts names of union branches into locations; what is no field where it stands is one of these.
    """
    path: list[str | int] = []
    models = [spec]
    for step in loc:
        if isinstance(step, int):
            path.append(step)
            continue
        fields = {field.alias or name: field for model in models for name, field in model.model_fields.items()}
        info = fields.get(step)
        if info is not None:
            path.append(step)
            models = list(_models(info.annotation))
    return tuple(path), models


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def read_documents(documents: list[tuple[str, LocatedDict]], registry: Registry) -> list[Resource]:
    """Check many documents; raises one ErrorList of everything that is wrong, duplicates included."""
    errors: list[SuanwangError] = []
    found: dict[Key, Resource] = {}
    for file, document in documents:
        try:
            resource = check(document, registry, file)
        except ErrorList as problem:
            errors += problem.errors
            continue
        except SuanwangError as problem:
            errors.append(problem)
            continue
        if resource.key in found:
            place = Place(file, document.line)
            errors.append(SuanwangError(INVALID, f"{resource.key} is declared twice", "keep one of the two", place))
        found[resource.key] = resource
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorList(errors[:MOST_ERRORS])
    return list(found.values())
