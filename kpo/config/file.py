"""The experiment file as a mapping: YAML with `extends`, and what is wrong with it as sentences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel

from kpo.common.cli import UserError


class ConfigError(UserError):
    """The experiment file is wrong; the message is meant for the person who wrote it."""


def read_experiment_file(path: Path, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's keys and values, laid over those of the file that its `extends` names.

    Raises ConfigError for a file that is not there, is not a YAML mapping, has a key twice, or
    extends itself; `children` are the files that extend this one.
    """
    chain = (*children, path)
    named_by = f"{children[-1]}: extends {path.name!r}: " if children else ""
    if not path.is_file():
        raise ConfigError(f"{named_by}{path}: no such file")
    if path.resolve() in [child.resolve() for child in children]:
        raise ConfigError(f"{path}: extends itself ({' -> '.join(p.name for p in chain)})")
    content = _parse(path)
    parent = content.pop("extends", None)
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends is {parent!r}, but must name a file beside this one")
    return merge(read_experiment_file(path.parent / parent, chain), content)


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: mappings merge, anything else replaces what it lies on.

    Two mappings replace as a whole: `methods`, and one whose `kind` is another than below.
    """
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and key != "methods":
            same_kind = value.get("kind", below.get("kind")) == below.get("kind")
            merged[key] = merge(below, value) if same_kind else value
        else:
            merged[key] = value
    return merged


class _Loader(yaml.SafeLoader):
    """YAML whose floats follow YAML 1.2, so that 1e-6 is a number, and keys may not repeat."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        message = " ".join(str(error).split())
        raise ConfigError(f"{path}: not readable as YAML: {message}") from error
    if content is None:
        raise ConfigError(f"{path}: the file is empty")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to values, not {_short(content)}")
    return content


# What pydantic says -> what follows "<key> is <value>, but".
_WORDING = (
    (r"^Input should be a valid dictionary.*", "must be a mapping of keys to values"),
    (r"^Input should be a valid integer.*", "must be an integer"),
    (r"^Input should be a valid tuple", "must be a list"),
    (r"^Input tag .* expected tags: ", "must be one of "),
    (r"^(List|Dictionary) should have at least 1 item .*", "must not be empty"),
    (r"^(Tuple|List) should have at (least|most) (\d+) items? .*", r"must have \3 items"),
    (r"^Keys should be strings", "must be a string"),
    (r"^\w+ should (be|match|have)", r"must \1"),
    (r"^must be a valid ", "must be a "),
    (r"^must be greater than or equal to", "must be at least"),
    (r"^must be less than or equal to", "must be at most"),
    (r"^Value error, ", ""),
)


RENAMED = {
    "policy.warm_up": "policy.sft",
    "train.max_rollout_gap": "train.max_logprob_mismatch",
    "policy.sft.slip": "task.slip",
}
"""Keys that files may still hold, and what they are called now."""


def sentence(schema: type[BaseModel], fault: Any) -> str:
    """A fault that pydantic found in a mapping of `schema`: its key, the value, what is allowed."""
    kind, loc, value = fault["type"], fault["loc"], _short(fault["input"])
    key, siblings = _place(schema, loc)
    if kind.startswith("union_tag"):
        key, value = f"{key}.kind", repr(fault["ctx"].get("tag"))
    if kind in ("missing", "union_tag_not_found"):
        return f"{key}: this key is missing"
    if kind == "extra_forbidden" and key in RENAMED:
        return f"{key}: this key is now called {RENAMED[key]}"
    if kind == "extra_forbidden":
        return f"{key}: unknown key (its value is {value}); allowed: {', '.join(siblings)}"
    message = fault["msg"]
    for pattern, wording in _WORDING:
        message = re.sub(pattern, wording, message)
    if kind == "invalid_key" or loc[-1:] == ("[key]",):
        section, _ = _place(schema, loc[:-1] if kind == "invalid_key" else loc[:-2])
        return f"{section}: the key {value} {message}".removeprefix(": ")
    if message.startswith("must"):
        return f"{key} is {value}, but {message}"
    return f"{key}: {message}".removeprefix(": ")  # a section's own check, which names its keys


def _place(schema: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """The key that `loc` stands for, and the keys that are allowed beside it."""
    kind: Any = schema
    key, siblings = "", list[str]()
    for part in loc:
        kinds = (kind, *get_args(kind))
        sections = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if get_origin(kind) in (dict, list):
            kind = get_args(kind)[-1]
        elif len(sections) > 1:  # pydantic's mark for the chosen kind
            (kind,) = (s for s in sections if part in get_args(s.model_fields["kind"].annotation))
            continue
        else:
            fields = sections[0].model_fields if sections else {}
            siblings = list(fields)
            kind = fields[part].annotation if part in fields else None
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
    return key.removeprefix("."), siblings


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
