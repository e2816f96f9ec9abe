"""Base of all sections of sweep.yaml, and the type of the places that it names."""

from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from bimix_sweep import locations
from bimix_sweep.parsing import parse_number


class Section(BaseModel):
    """Mapping in the file. An unknown key is an error; values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_with_units(cls, content: Any) -> Any:
        """Reads `300B` and `20%` as numbers, in the keys that take numbers."""
        if not isinstance(content, dict):
            return content
        fields = cls.model_fields
        return {
            key: _numbers(value)
            if key in fields and _takes_numbers(fields[key].annotation)
            else value
            for key, value in content.items()
        }


def _takes_numbers(annotation: Any) -> bool:
    """Whether a key of this type takes numbers, alone or in a list or mapping, and no free text."""
    if annotation in (int, float):
        return True
    if get_origin(annotation) is Literal:
        return False
    parts = get_args(annotation)
    parts = parts[1:] if get_origin(annotation) is dict else parts
    return str not in parts and any(map(_takes_numbers, parts))


def _numbers(value: Any) -> Any:
    """The value, or the parts of a list, mapping or list of mappings, with each text that is a
    number as a number."""
    return [*map(_entry, value)] if isinstance(value, list | tuple) else _entry(value)


def _entry(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _number(part) for key, part in value.items()}
    return _number(value)


def _number(value: Any) -> Any:
    """The number that a text states; every other value stays as it is."""
    try:
        return parse_number(value) if isinstance(value, str) else value
    except ValueError:
        return value


def without_secrets(place: str) -> str:
    """Returns the place unchanged; refuses a URI that holds a secret."""
    if locations.is_uri(place):
        locations.check_uri(place.removeprefix("@"))
    return place


Place = Annotated[str, AfterValidator(without_secrets)]
"""Path or URI without a secret: the sweep writes its places into all that it stores."""
