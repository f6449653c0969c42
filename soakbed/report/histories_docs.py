"""The models in `docs/checking-histories.md`, written from the models themselves by `make docs`."""

from __future__ import annotations

import inspect

from soakbed.histories.models import MODELS, Model

__all__ = ["MODELS_BEGIN", "MODELS_END", "models_section"]

MODELS_BEGIN = "<!-- models: written by `make docs`, do not edit -->"
MODELS_END = "<!-- end of models -->"


def models_section() -> str:
    """Every model with its actions, as a Markdown table."""
    rows = ["| model | actions | keys | what it promises |", "|---|---|---|---|"]
    rows += [
        f"| `{name}` | {', '.join(f'`{action}`' for action in sorted(model.actions))} "
        f"| {'checked apart' if model.by_key else 'one object'} | {_promise(model)} |"
        for name, model in MODELS.items()
    ]
    return "\n".join(rows)


def _promise(model: type[Model]) -> str:
    """What its docstring says before the examples."""
    said = inspect.getdoc(model) or ""
    return " ".join(said.split(">>>")[0].split())
