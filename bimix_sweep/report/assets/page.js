// Draws the figures, in the colours of the theme, and copies texts to the clipboard.
"use strict";

// Alphabet of `report.packing`: base 85, with a comma in the place of "<".
const ALPHABET =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
const DIGIT = new Uint8Array(128);
[...ALPHABET].forEach((letter, value) => { DIGIT[letter.charCodeAt(0)] = value; });

const unpack = async (packed) => {
  const text = packed.trim();
  const missing = (5 - (text.length % 5)) % 5;
  const padded = text + "~".repeat(missing);
  const bytes = new Uint8Array((padded.length / 5) * 4);
  for (let from = 0, to = 0; from < padded.length; from += 5, to += 4) {
    let value = 0;
    for (let n = from; n < from + 5; n++) value = value * 85 + DIGIT[padded.charCodeAt(n)];
    bytes[to] = value / 16777216;
    bytes[to + 1] = (value >>> 16) & 255;
    bytes[to + 2] = (value >>> 8) & 255;
    bytes[to + 3] = value & 255;
  }
  const stream = new Blob([bytes.subarray(0, bytes.length - missing)]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("deflate"))).text();
};

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const CONFIG = { responsive: true, displayModeBar: false };

const themed = (layout) => {
  const [ink, grid, line] = dark.matches
    ? ["#c9cfd5", "#2c3137", "#596169"] : ["#3a424b", "#eceeec", "#b9bfc4"];
  const family = getComputedStyle(document.body).fontFamily;
  const axis = { gridcolor: grid, zerolinecolor: line, linecolor: line, tickcolor: line };
  const clear = "rgba(0,0,0,0)";
  const out = {
    ...layout,
    uirevision: "keep",
    paper_bgcolor: clear,
    plot_bgcolor: clear,
    font: { family, size: 12.5, color: ink },
    hoverlabel: { font: { family, size: 12.5 } },
    legend: { bgcolor: clear, ...layout.legend },
  };
  for (const key of new Set(["xaxis", "yaxis", ...Object.keys(layout)])) {
    if (!/^[xy]axis\d*$/.test(key)) continue;
    const own = layout[key] || {};
    const title = { standoff: 10, ...own.title, font: { size: 12.5 } };
    out[key] = { automargin: true, ...axis, ...own, title };
  }
  if (layout.ternary) {
    const faint = dark.matches ? "rgba(255,255,255,.10)" : "rgba(30,40,50,.10)";
    out.ternary = { ...layout.ternary, bgcolor: clear };
    for (const key of ["aaxis", "baxis", "caxis"]) {
      out.ternary[key] = { ...axis, gridcolor: faint, ...layout.ternary[key] };
    }
  }
  return out;
};

const drawOne = async (place) => {
  const figure = JSON.parse(await unpack(document.getElementById(`${place.id}-figure`).textContent));
  await Plotly.react(place, figure.data, themed(figure.layout), CONFIG);
};
const draw = async () => {
  for (const packed of document.querySelectorAll("script[data-into]")) {
    document.getElementById(packed.dataset.into).innerHTML = await unpack(packed.textContent);
  }
  await Promise.all([...document.querySelectorAll("div.plot")].map(drawOne));
};

// Shows the chosen form of the recommended mixture.
const showForm = async () => {
  const choice = document.getElementById("form");
  if (!choice) return;
  const texts = JSON.parse(await unpack(document.getElementById("form-texts").textContent));
  document.getElementById("form-text").textContent = texts[choice.value];
};

const copy = async (button) => {
  const from = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(from); // no permission: the text is selected instead
  }
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});
document.addEventListener("change", (event) => { if (event.target.id === "form") showForm(); });

const start = async () => {
  await tryout.load();
  const script = document.createElement("script");
  script.textContent = await unpack(document.getElementById("plotly").textContent);
  document.head.append(script);
  await draw();
  dark.addEventListener("change", draw);
  document.body.dataset.drawn = "yes";
};
