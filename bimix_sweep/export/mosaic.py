"""MosaicML Streaming: one stream a domain with its `proportion` of samples, as the YAML that LLM Foundry reads.

Proportions count samples: they are shares of tokens only where every sample holds the same number, as concatenated text does. All streams
of a dataset must say their share in the same way, so a domain at 0 is left out.
"""

from bimix_sweep.export.blend import UNIT, Blend, as_yaml


def streams(blend: Blend) -> str:
    """The YAML of `streams`; `local` is a cache folder named for the domain."""
    listed = {
        part.domain: {
            "remote": blend.path(part),
            "local": f"streaming-cache/{part.domain}",
            "proportion": part.proportion,
        }
        for part in blend.positive()
    }
    return as_yaml(
        {"streams": listed},
        f"Unit of proportion: samples, which is {UNIT} where every sample has the same length.",
    )
