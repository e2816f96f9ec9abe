"""Style sheet, script and security policy of the page.

The page contains all of its parts, so a browser can open it from a file. Its policy forbids all
requests.
"""

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
"""Content-Security-Policy of the page: the browser fetches nothing."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbf9; --card: #ffffff; --ink: #1d2126; \
--soft: #5c656f; --line: #e3e5e3; --accent: #d6336c; --tint: #f3f4f1; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15171a; --card: #1c1f23; --ink: #e8eaec; --soft: #9aa3ad; --line: #2f343a; \
--accent: #f06595; --tint: #23272c; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); \
font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header, main, footer { max-width: 1160px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 34px; }
.kicker { margin: 0; color: var(--accent); font-size: 12px; font-weight: 700; \
letter-spacing: .09em; text-transform: uppercase; }
h1 { margin: 2px 0 0; font-size: 30px; line-height: 1.2; letter-spacing: -.015em; \
overflow-wrap: anywhere; }
h2 { margin: 0 0 2px; font-size: 18px; line-height: 1.3; letter-spacing: -.005em; }
h3 { margin: 0 0 8px; font-size: 12px; font-weight: 600; color: var(--soft); }
.meta { margin: 6px 0 20px; color: var(--soft); }
.row { display: grid; gap: 18px; grid-template-columns: repeat(12, minmax(0, 1fr)); \
margin-bottom: 18px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; \
padding: 20px 22px; margin: 0; min-width: 0; grid-column: span 12; }
@media (min-width: 900px) { .wide { grid-column: span 7; } .narrow { grid-column: span 5; } \
.half { grid-column: span 6; } }
.lead { font-size: 17px; line-height: 1.45; margin: 4px 0 16px; }
.stack { display: flex; height: 34px; border-radius: 8px; overflow: hidden; margin: 14px 0 18px; \
gap: 2px; }
.stack span { line-height: 34px; text-align: center; color: #fff; font-size: 13px; \
font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; min-width: 0; \
padding: 0 4px; }
.bars { display: grid; \
grid-template-columns: minmax(70px, max-content) 1fr max-content max-content; \
gap: 9px 14px; align-items: center; }
.bars .name { overflow-wrap: anywhere; max-width: 200px; }
.track { position: relative; height: 16px; background: var(--tint); border-radius: 5px; }
.track i { position: absolute; top: 0; bottom: 0; border-radius: 5px; }
.track b { position: absolute; top: 50%; height: 0; border-top: 2px solid var(--ink); }
.track b::before, .track b::after { content: ""; position: absolute; top: -6px; height: 10px; \
border-left: 2px solid var(--ink); }
.track b::after { right: 0; } .track b::before { left: 0; }
.value { font-weight: 650; text-align: right; font-variant-numeric: tabular-nums; }
.range { color: var(--soft); font-size: 13px; text-align: right; \
font-variant-numeric: tabular-nums; }
.facts { display: flex; flex-direction: column; gap: 14px; margin: 12px 0 0; }
.facts > div { border-left: 3px solid var(--line); padding-left: 14px; }
.facts dt { color: var(--soft); font-size: 12px; font-weight: 600; }
.facts dd { margin: 0; }
.facts strong { font-size: 20px; letter-spacing: -.01em; font-variant-numeric: tabular-nums; }
.plot { width: 100%; margin-top: 6px; }
.bars + .note { margin-top: 10px; }
figcaption, .note { color: var(--soft); font-size: 13px; margin: 2px 0 0; }
.legend { display: inline-block; width: 70px; height: 9px; border-radius: 5px; \
vertical-align: baseline; margin: 0 4px; }
.scroll { overflow-x: auto; margin-top: 16px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; \
font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: 12px; font-weight: 600; \
padding-bottom: 5px; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-top: 1px solid var(--line); \
vertical-align: top; font-weight: 400; }
td, tbody th { overflow-wrap: break-word; } thead th { border-top: 0; color: var(--soft); \
font-size: 12px; white-space: nowrap; vertical-align: bottom; } tbody th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; overflow-wrap: normal; }
th:last-child, td:last-child { padding-right: 0; }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--soft); font-size: 13.5px; }
ul.notes { margin: 8px 0 0; padding-left: 18px; color: var(--soft); font-size: 13px; }
footer { color: var(--soft); font-size: 12.5px; padding-bottom: 40px; }
@media print { .card { break-inside: avoid; } }
"""
"""Style sheet of the page, for light and dark themes. A backslash joins two lines into one."""

SCRIPT = """
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const font = getComputedStyle(document.body).fontFamily;
  const config = { responsive: true, displayModeBar: false };
  const themed = (layout) => {
    const ink = dark.matches ? "#c9cfd5" : "#3a424b", \
grid = dark.matches ? "#2c3137" : "#eceeec", \
line = dark.matches ? "#596169" : "#b9bfc4";
    const axis = { gridcolor: grid, zerolinecolor: line, linecolor: line, tickcolor: line };
    const out = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", \
font: { family: font, size: 12.5, color: ink } };
    out.hoverlabel = { font: { family: font, size: 12.5 } };
    out.legend = { bgcolor: "rgba(0,0,0,0)", ...layout.legend };
    for (const key of new Set(["xaxis", "yaxis", ...Object.keys(layout)])) \
if (/^[xy]axis\\d*$/.test(key)) {
      const own = layout[key] || {};
      out[key] = { automargin: true, ...axis, ...own, \
title: { standoff: 10, ...own.title, font: { size: 12.5 } } };
    }
    if (layout.ternary) {
      out.ternary = { ...layout.ternary, bgcolor: "rgba(0,0,0,0)" };
      for (const key of ["aaxis", "baxis", "caxis"]) out.ternary[key] = { ...axis, \
gridcolor: dark.matches ? "rgba(255,255,255,.10)" : "rgba(30,40,50,.10)", ...layout.ternary[key] };
    }
    return out;
  };
  const draw = () => document.querySelectorAll("div.plot").forEach((place) => {
    const figure = JSON.parse(document.getElementById(place.id + "-figure").textContent);
    Plotly.react(place, figure.data, themed(figure.layout), config);
  });
  draw();
  dark.addEventListener("change", draw);
})();
"""
"""Script of the page: it draws every figure in the colours of the theme."""
