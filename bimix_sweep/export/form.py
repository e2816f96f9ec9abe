"""A form: one file format of one trainer, with what its reader must know."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.unit import Unit

Render = Callable[[Blend, Sequence[str]], str]
"""The text of the file, from the weighted blend and the notes that go into its comments."""


def nothing(_: Blend) -> list[str]:
    """No warning."""
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One file format of one trainer."""

    trainer: str
    """Id of the trainer."""
    variant: str = ""
    """Name of the form among those of its trainer with the same ending; empty for the default."""
    ending: str
    """Of the file's name, with its dot."""
    render: Render
    """Writes the text."""
    version: str = ""
    """Release of the trainer whose parser the form was checked against; empty for no trainer."""
    unit: Unit = Unit.TOKENS
    """What the weights are proportions of."""
    notes: tuple[str, ...] = ()
    """What to know about every file of this form: how to use it, what the trainer needs besides."""
    warnings: Callable[[Blend], list[str]] = nothing
    """What to know about this blend in this form."""
    imports: frozenset[str] = frozenset()
    """Packages that the file imports and that a file of the same name would hide from Python."""
    has_room: bool = True
    """The format permits comments or further keys, so the notes stand in the file."""
    paths: Literal["needed", "if given", "none"] = "needed"
    """Whether the file holds the domains' paths."""

    @property
    def name(self) -> str:
        """What `--to` calls the form."""
        return f"{self.trainer}-{self.variant}" if self.variant else self.trainer

    @property
    def file_name(self) -> str:
        """Its file's name among those of all forms; Python can import it and finds the package."""
        if self.ending == ".py":
            return f"{self.name.replace('-', '_')}_mixture.py"
        return self.name + self.ending

    def all_notes(self, blend: Blend) -> list[str]:
        """Unit, usage and what was not checked, one sentence each."""
        unit = f"Unit of the weights: {self.unit.value}."
        if self.unit is Unit.DOCUMENTS:
            unit = (
                "Unit of the weights: documents (proportion of tokens / tokens_per_document, "
                "normalised)."
            )
        return [unit, *self.notes, *self._unchecked(blend)]

    def hidden_package(self, path: str) -> list[str]:
        """A warning where a Python file's name is that of a package it imports."""
        name = PurePosixPath(path).stem
        if name not in self.imports:
            return []
        return [f"{name}.py hides the package {name} from Python in its folder: rename the file."]

    def _unchecked(self, blend: Blend) -> list[str]:
        notes = []
        named = any(part.source.path is None for part in blend.positive())
        if self.paths == "needed" and named:
            notes.append("Names of domains stand in place of paths (--names): put in the paths.")
        elif self.paths == "needed" or (self.paths == "if given" and not named):
            notes.append("Not checked: that the paths exist and hold these domains.")
        if self.unit is Unit.DOCUMENTS:
            notes.append(
                "Not checked: that tokens_per_document was counted with the trainer's tokenizer, "
                "special tokens included."
            )
        if self.version:
            notes.append(f"Not checked: your version; the form was checked with {self.version}.")
        return notes
