"""Base of all sections of sweep.yaml, and the type of the places that it names."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from bimix_sweep import locations


class Section(BaseModel):
    """Mapping in the file. An unknown key is an error; values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def without_secrets(place: str) -> str:
    """Returns the place unchanged; refuses a URI that holds a secret."""
    if locations.is_uri(place):
        locations.check_uri(place.removeprefix("@"))
    return place


Place = Annotated[str, AfterValidator(without_secrets)]
"""Path or URI without a secret: the sweep writes its places into all that it stores."""
