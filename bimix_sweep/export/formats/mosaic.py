"""Writes a recipe for MosaicML Streaming: one stream per domain, as the YAML of LLM Foundry.

The `proportion` of a stream counts samples. It is a proportion of tokens only if all samples hold
the same number of tokens, as concatenated text does. All streams of a data set must state their
weight in the same way, so a domain with proportion 0 is left out.
"""

from collections.abc import Sequence

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.unit import Unit
from bimix_sweep.export.writing import as_yaml
from bimix_sweep.quoting import file_name

VERSION = "mosaicml-streaming 0.13.0 and llm-foundry 0.22.0"
"""Releases that the forms were checked with."""
PLACE = (
    "Merge it into LLM Foundry's YAML; in Python: StreamingDataset(streams=[Stream(**stream) for "
    "stream in streams.values()]). local is a folder for the cache."
)
"""Note about how to use the file."""


def streams(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of `train_loader.dataset.streams`."""
    listed = {
        part.domain: {
            "remote": path,
            "local": f"streaming-cache/{file_name(part.domain)}",
            "proportion": part.weight,
        }
        for part, path in blend.located()
    }
    return as_yaml({"train_loader": {"dataset": {"streams": listed}}}, *notes)


FORMS = (
    Form(
        trainer="mosaic-streaming",
        ending=".yaml",
        version=VERSION,
        render=streams,
        notes=(
            "Streaming draws samples: this holds only where every sample has the same number of "
            "tokens (concatenated text). For samples that are documents write "
            "mosaic-streaming-documents.",
            PLACE,
        ),
    ),
    Form(
        trainer="mosaic-streaming",
        variant="documents",
        ending=".yaml",
        version=VERSION,
        render=streams,
        unit=Unit.DOCUMENTS,
        notes=(
            "Streaming draws samples: this is for samples that are single documents. Where they "
            "are cut to max_seq_len, tokens_per_document must be the mean of what is left.",
            PLACE,
        ),
    ),
)
"""Forms for MosaicML Streaming."""
