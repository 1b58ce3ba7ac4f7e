"""Writes access files as `pennytrace token new` prints them."""

from __future__ import annotations

from pathlib import Path

from pennytrace_collectors.access.secret import digest


def entry(kind: str, name: str, secret: str, **more: str | int) -> str:
    """A [[token]] or [[user]] with the hash of its secret."""
    lines = [f"[[{kind}]]", f'name = "{name}"', f'sha256 = "{digest(secret)}"']
    lines += [f"{key} = {value!r}".replace("'", '"') for key, value in more.items()]
    return "\n".join(lines) + "\n"


def written(path: Path, *parts: str) -> Path:
    """The file with these parts, replaced at once as careful editors do."""
    passing = path.with_suffix(".new")
    passing.write_text("\n".join(parts), "utf-8")
    passing.replace(path)
    return path
