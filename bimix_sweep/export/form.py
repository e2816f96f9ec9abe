"""Describes a form: one file format of one trainer, with the notes that its reader needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from bimix_sweep import locations
from bimix_sweep.export.blend import Blend
from bimix_sweep.export.final_run import run_notes, run_warnings
from bimix_sweep.export.unit import Unit
from bimix_sweep.text import listed

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
        return [unit, *self.notes, *run_notes(blend), *self._unchecked(blend)]

    def all_warnings(self, blend: Blend, path: str) -> list[str]:
        """Warnings about the blend, the final run, the paths and the name of the file."""
        lost = [] if self.paths == "none" else _lost(blend)
        return [
            *blend.warnings,
            *run_warnings(blend),
            *lost,
            *self.warnings(blend),
            *self.hidden_package(path),
        ]

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
        positive = blend.positive()
        named = any(not part.source.paths for part in positive)
        if self.paths == "needed" and named:
            notes.append("Names of domains stand in place of paths (--names): put in the paths.")
        elif self.paths == "needed" or (self.paths == "if given" and not named):
            here = not any(part.places.lost or part.places.remote for part in positive)
            notes.append(
                "Every path exists on this machine. Not checked: that the paths hold these domains."
                if here
                else "Not checked: that the paths exist and hold these domains."
            )
        if split := [part.domain for part in positive if part.places.by_bytes]:
            notes.append(
                f"Not checked: that bytes compare as tokens over the paths of {listed(split)}; "
                "where each path has a weight of its own, it follows the bytes."
            )
        if self.unit is Unit.DOCUMENTS:
            notes.append(
                "Not checked: that tokens_per_document was counted with the trainer's tokenizer, "
                "special tokens included."
            )
        if self.version:
            notes.append(f"Not checked: your version; the form was checked with {self.version}.")
        return notes


def _lost(blend: Blend) -> list[str]:
    """Warning about paths that do not exist here, if others do.

    If no path exists here, the trainer's data lie on another machine.
    """
    lost = [path for part in blend.positive() for path in part.places.lost]
    looked_up = [
        path
        for part in blend.positive()
        for path in part.places.entries
        if not locations.is_uri(path)
    ]
    if not lost or len(lost) == len(looked_up):
        return []
    return [f"On this machine there is no {listed(lost)}, while the other paths are here."]
