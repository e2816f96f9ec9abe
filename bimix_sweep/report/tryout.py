"""Section "try your own": sliders for a mixture, and the law that the page evaluates for it."""

import html
import json

from bimix_sweep.law.optimum.law_at_fidelity import law_at_fidelity
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import FLOOR
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.figures.style import colour
from bimix_sweep.report.packing import pack
from bimix_sweep.report.wording import percent

MAX_LAW = 250_000
"""Largest packed size of the law in the page, in bytes; a larger law is left out."""
MAX_ALTERNATIVES = 3
"""Number of the optimum's alternatives among the presets."""


def tryout(data: ReportData) -> str:
    """Section with sliders and presets; empty without an optimum."""
    if data.law is None or data.optimum is None or data.recommended is None:
        return ""
    packed = pack(json.dumps(_problem(data), separators=(",", ":")))
    if len(packed) > MAX_LAW:
        return (
            '<section class="row" id="try"><div class="card"><h2>Try your own</h2><p class="note">'
            "The law of so many trials is too large for the page; ask it with: bimix-sweep predict."
            "</p></div></section>"
        )
    presets = "".join(
        f'<button type="button" data-preset="{html.escape(name, quote=True)}">'
        f"{html.escape(name)}</button>"
        for name in _presets(data)
    )
    rows = "".join(_slider(data, n) for n in range(len(data.domains)))
    losses = "".join(
        f'<tr><th scope="row">{html.escape(target)}</th><td class="number" id="try-loss-{k}"></td>'
        f'<td class="number" id="try-change-{k}"></td></tr>'
        for k, target in enumerate(data.law.targets)
    )
    names = html.escape(json.dumps([data.domains.names, data.law.targets]), quote=True)
    return f"""<section class="row" id="try" data-names="{names}"><div class="card wide">\
<h2>Try your own</h2><p class="note">Move a proportion: those that are not locked follow. The \
address of the page keeps the mixture.</p><div class="presets">{presets}</div>\
<div class="sliders">{rows}</div></div>
<div class="card narrow"><h2>What the law predicts for it</h2><p class="lead" aria-live="polite">\
<strong id="try-region"></strong><br>objective <b id="try-objective"></b>, \
<span id="try-gain"></span></p>\
<p class="note">Region: within {percent(data.optimum.within)} of the best loss, inside the \
bounds.</p><div class="scroll"><table><caption>Predicted for each target, and its change against the recommended mixture</caption><thead><tr>\
<th scope="col">target</th><th scope="col" class="number">value</th><th scope="col" \
class="number">change</th></tr></thead><tbody>{losses}</tbody></table></div></div>
<script type="text/plain" id="law-data">{packed}</script></section>"""


def _slider(data: ReportData, index: int) -> str:
    """Slider, value, passes and lock of one domain."""
    name = html.escape(data.domains.names[index])
    label = html.escape(data.domains.names[index], quote=True)
    upper = data.domains.upper[index]
    passes = f'<span class="range" id="try-passes-{index}"></span>' if data.token_budget else ""
    return (
        f'<label class="name" for="try-{index}"><i style="background:{colour(index)}"></i>{name}</label>'
        f'<input type="range" id="try-{index}" min="0" max="{upper:g}" step="0.001" '
        f'data-domain="{index}">'
        f'<span class="value" id="try-value-{index}"></span>'
        f'<span class="lock">{passes}<label><input type="checkbox" id="try-lock-{index}" '
        f'data-domain="{index}" aria-label="lock {label}"> lock</label></span>'
    )


def _presets(data: ReportData) -> dict[str, Mixture]:
    """{name: mixture} of the presets."""
    found: dict[str, Mixture] = {}
    if data.recommended is not None:
        found["recommended"] = data.recommended
    if data.gain is not None and data.gain.baseline == "today":
        found["today"] = data.gain.mixture
    found["uniform"] = data.domains.uniform()
    if data.domains.knows_tokens:
        found["natural"] = data.domains.natural()
    if data.optimum is not None:
        for n, mixture in enumerate(data.optimum.alternatives[:MAX_ALTERNATIVES]):
            found[f"alternative {n + 1}"] = mixture
    return found


def _problem(data: ReportData) -> dict[str, object]:
    """Law and decision problem as JSON values for the script of the section."""
    law, optimum, recommended = data.law, data.optimum, data.recommended
    if law is None or optimum is None or recommended is None:
        return {}
    names = data.domains.names
    return {
        "law": law_at_fidelity(data.of_final_run(law), optimum.step, optimum.size),
        "goal_floor": FLOOR,
        "domains": names,
        "columns": [law.domains.index(name) for name in names],
        "weights": data.weights_of(law.targets).tolist(),
        "worst": data.objective == "worst",
        "kl": data.kl if data.prior is not None else 0.0,
        "prior": None if data.prior is None else data.prior.as_array(names).tolist(),
        "lower": list(data.domains.lower),
        "upper": list(data.domains.upper),
        "within": optimum.within,
        "optimum": optimum.mixture.as_array(names).tolist(),
        "recommended": recommended.as_array(names).tolist(),
        "presets": {k: m.as_array(names).tolist() for k, m in _presets(data).items()},
    }
