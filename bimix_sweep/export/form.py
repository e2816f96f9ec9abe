"""Describes a form: one file format of one trainer, with the notes that its reader needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.unit import Unit

Render = Callable[[Blend, Sequence[str]], str]
"""Function that makes the text of the file from the weighted blend and the notes for its
comments."""


def nothing(_: Blend) -> list[str]:
    """No warnings: the default of `Form.warnings`."""
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One file format of one trainer."""

    trainer: str
    """Id of the trainer."""
    variant: str = ""
    """Name of the form among the forms of its trainer with the same ending; empty for the
    default."""
    ending: str
    """Ending of the file's name, with its dot."""
    render: Render
    """Makes the text of the file."""
    version: str = ""
    """Release of the trainer whose parser the form was checked with; empty if there is no
    trainer."""
    unit: Unit = Unit.TOKENS
    """Unit of the weights."""
    notes: tuple[str, ...] = ()
    """Notes about every file of this form: how to use it, and what else the trainer needs."""
    warnings: Callable[[Blend], list[str]] = nothing
    """Warnings about one blend in this form."""
    imports: frozenset[str] = frozenset()
    """Packages that the file imports; a file with the same name would hide them from Python."""
    has_room: bool = True
    """True if the format permits comments or further keys, so that the notes are written in the
    file."""
    paths: Literal["needed", "if given", "none"] = "needed"
    """Says whether the file holds the domains' paths."""

    @property
    def name(self) -> str:
        """Name of the form in the option `--to`."""
        return f"{self.trainer}-{self.variant}" if self.variant else self.trainer

    @property
    def file_name(self) -> str:
        """File name that is unique among all forms.

        For a Python form, the name is one that can be imported and that hides no package.
        """
        if self.ending == ".py":
            return f"{self.name.replace('-', '_')}_mixture.py"
        return self.name + self.ending

    def all_notes(self, blend: Blend) -> list[str]:
        """Notes on the unit, on usage and on what was not checked, one sentence each."""
        unit = f"Unit of the weights: {self.unit.value}."
        if self.unit is Unit.DOCUMENTS:
            unit = (
                "Unit of the weights: documents (proportion of tokens / tokens_per_document, "
                "normalised)."
            )
        return [unit, *self.notes, *self._unchecked(blend)]

    def hidden_package(self, path: str) -> list[str]:
        """Warning for a Python file whose name is that of a package it imports; empty list
        otherwise."""
        name = PurePosixPath(path).stem
        if name not in self.imports:
            return []
        return [f"{name}.py hides the package {name} from Python in its folder: rename the file."]

    def _unchecked(self, blend: Blend) -> list[str]:
        """Notes on what was not checked."""
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
