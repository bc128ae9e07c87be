"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const sounds = JSON.parse(document.getElementById("audio").textContent);
const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 44rem)");
const coarse = matchMedia("(pointer: coarse)");

// One player for the whole page, so that only one clip sounds at a time.

const nameOf = new Map(Object.entries(data.names));
if (data.map) data.map.clip.forEach((clip, point) => nameOf.set(String(clip), data.map.name[point]));

let toastTimer = 0;

function say(text) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.classList.remove("on"), 4000);
}

function play(clip) {
  const name = nameOf.get(String(clip));
  const sound = byId("sound");
  for (const button of document.querySelectorAll(".picture.on")) button.classList.remove("on");
  if (!(clip in sounds)) {
    sound.pause();
    say(`No sound here for ${name}: ${data.problems[clip]}`);
    return;
  }
  for (const button of document.querySelectorAll(`[data-clip="${clip}"]`)) button.classList.add("on");
  byId("player").hidden = false;
  byId("playing").textContent = name;
  sound.src = `data:audio/ogg;base64,${sounds[clip]}`;
  sound.play().catch((error) => {
    // A second click replaces the sound that is still starting; that is no fault.
    if (error.name !== "AbortError") say(`This browser cannot play ${name}: ${error.message}`);
  });
}

byId("close").addEventListener("click", () => {
  byId("sound").pause();
  byId("player").hidden = true;
});

for (const button of document.querySelectorAll("button[data-clip]")) {
  button.addEventListener("click", () => play(Number(button.dataset.clip)));
}

// Colours come from the style sheet, so that charts follow light and dark.

const scales = {
  blues: {
    light: ["#f7f5f2", "#c9dcec", "#7fb2d8", "#2f79b5", "#0b2f63"],
    dark: ["#26242d", "#27425f", "#2f6ea3", "#6aaee0", "#e2f1ff"],
  },
  magma: {
    light: ["#04050e", "#3e1673", "#992d7d", "#ee6256", "#fcecb2"],
    dark: ["#04050e", "#3e1673", "#992d7d", "#ee6256", "#fcecb2"],
  },
};

const lines = {
  light: ["#2f79b5", "#c2571a", "#1a7a4c", "#8e3aa8", "#7a6a00", "#b3335f", "#4f5d6b", "#00808a"],
  dark: ["#7fb8ec", "#ff9d5c", "#6fd6a0", "#d79be8", "#e0cf5a", "#ff8db4", "#b5c2cf", "#5ed3dc"],
};

const theme = () => (dark.matches ? "dark" : "light");
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function axis(extra) {
  return { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true, ...extra };
}

function look(layout) {
  return {
    autosize: true,
    font: { family: "system-ui, sans-serif", size: 12, color: css("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 48, r: 12, t: 12, b: 40 },
    dragmode: false,
    colorway: lines[theme()],
    hoverlabel: { align: "left", bgcolor: css("--panel"), bordercolor: css("--soft"), font: { color: css("--ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--accent") },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    ...layout,
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
    shapes: (layout.shapes || []).map((shape) => ({
      ...shape,
      line: { color: css("--soft"), width: 1.5, dash: "dash" },
    })),
  };
}

// The buttons are listed one by one: plotly's own choice holds one that leads to a web service.
const buttons = [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]];

function draw(id, traces, layout, zoom) {
  const config = { responsive: true, displaylogo: false, displayModeBar: zoom, modeBarButtons: buttons };
  return Plotly.react(byId(id), traces, look(layout), config);
}

function scaled({ colours, colorbar }) {
  const steps = scales[colours][theme()];
  return {
    colorscale: steps.map((colour, step) => [step / (steps.length - 1), colour]),
    colorbar: {
      ...colorbar, thickness: 12, outlinewidth: 0, ...(narrow.matches
        ? { orientation: "h", y: 1.02, yanchor: "bottom", ypad: 4 } : { xpad: 6 }),
    },
  };
}

function drawFigure(id, figure) {
  const traces = figure.data.map((trace) => {
    if (trace.type === "heatmap") return { ...trace, ...scaled(trace) };
    if (trace.type !== "sunburst") return trace;
    const rim = { ...trace.marker.line, color: css("--page") };
    return { ...trace, marker: { ...trace.marker, ...(trace.marker.colours && scaled(trace.marker)), line: rim } };
  });
  const heat = figure.data[0].type === "heatmap";
  draw(id, traces, heat ? heatLayout(figure) : figure.layout, heat && manyClasses(figure));
}

const manyClasses = (figure) => figure.data[0].x.length > 25;

function heatLayout(figure) {
  const { xaxis, yaxis } = figure.layout;
  const count = figure.data[0].x.length;
  // On a narrow page names take the room of the picture; the hover box and the table have them.
  const show = xaxis.showticklabels && (!narrow.matches || count <= 12);
  const size = count > 40 ? 8 : count > 24 ? 9 : 11;
  const ticks = { showticklabels: show, tickfont: { size }, ticks: "", showgrid: false };
  return {
    ...figure.layout,
    margin: { l: 24, r: 8, t: manyClasses(figure) ? 34 : 12, b: 24 },
    xaxis: { ...xaxis, ...ticks, tickangle: count > (narrow.matches ? 2 : 5) ? -90 : 0 },
    yaxis: { ...yaxis, ...ticks },
  };
}

const palette = ["#4e79a7", "#e8853a", "#3f9b55", "#d14f52", "#8b6bb1", "#8c6d54", "#d678b4", "#7d8186", "#b39b1e", "#2fa5b3"];
const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down", "x"];
const outlines = {
  circle: "<circle cx='6' cy='6' r='5'/>",
  square: "<rect x='1' y='1' width='10' height='10'/>",
  diamond: "<path d='M6 0L12 6L6 12L0 6Z'/>",
  "triangle-up": "<path d='M6 1L12 11H0Z'/>",
  cross: "<path d='M4 0H8V4H12V8H8V12H4V8H0V4H4Z'/>",
  star: "<path d='M6 0L7.5 4.3H12L8.4 7L9.7 11.5L6 8.8L2.3 11.5L3.6 7L0 4.3H4.5Z'/>",
  "triangle-down": "<path d='M6 11L12 1H0Z'/>",
  x: "<path d='M2 0L6 4L10 0L12 2L8 6L12 10L10 12L6 8L2 12L0 10L4 6L0 2Z'/>",
};
const colourOf = (group) => palette[group % palette.length];
const symbolOf = (group) => symbols[Math.floor(group / palette.length) % symbols.length];

let alone = null;
let found = null;

function drawMap() {
  const { x, y, text, colourings } = data.map;
  const index = colourings[byId("colouring").value].index;
  const points = {
    type: "scatter", mode: "markers", x, y, text,
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      color: index.map(colourOf),
      symbol: index.map(symbolOf),
      opacity: index.map((group) => (alone === null || group === alone ? 0.85 : 0.07)),
      size: (x.length > 1500 ? 6 : x.length > 400 ? 8 : 10) - (narrow.matches ? 2 : 0),
      line: { width: 0.5, color: css("--page") },
    },
  };
  const ring = {
    type: "scatter", mode: "markers", hoverinfo: "skip",
    x: found === null ? [] : [x[found]], y: found === null ? [] : [y[found]],
    marker: { symbol: "circle-open", size: 22, color: css("--ink"), line: { width: 3 } },
  };
  const bare = { showticklabels: false, ticks: "", zeroline: false, showgrid: false, showline: false, automargin: false };
  return draw("plane", [points, ring], {
    showlegend: false,
    hovermode: "closest",
    dragmode: coarse.matches ? false : "pan",
    margin: { l: 8, r: 8, t: 8, b: 8 },
    uirevision: "map",
    xaxis: bare,
    yaxis: { ...bare, scaleanchor: "x" },
  }, true);
}

function drawLegend() {
  const { groups } = data.map.colourings[byId("colouring").value];
  byId("legend").replaceChildren(...groups.map((name, group) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.setAttribute("aria-pressed", String(alone === group));
    chip.innerHTML = `<svg width="12" height="12" aria-hidden="true" fill="${colourOf(group)}">${outlines[symbolOf(group)]}</svg>`;
    chip.append(name);
    chip.addEventListener("click", () => {
      alone = alone === group ? null : group;
      [...byId("legend").children].forEach((other, place) => other.setAttribute("aria-pressed", String(place === alone)));
      drawMap();
    });
    return chip;
  }));
}

function choose(point) {
  found = point;
  drawMap();
  play(data.map.clip[point]);
}

function startMap() {
  const { colourings, name } = data.map;
  byId("colouring").append(...colourings.map(({ name: title }, place) => new Option(title, place)));
  byId("colouring").addEventListener("change", () => {
    alone = null;
    drawLegend();
    drawMap();
  });
  byId("names").append(...name.map((title) => new Option(title, title)));
  byId("find").addEventListener("change", (event) => {
    const wanted = event.target.value.trim();
    const point = name.indexOf(wanted);
    if (point >= 0) choose(point);
    else if (wanted) say(`No clip of this map is called ${wanted}`);
  });
  drawLegend();
  drawMap().then((plane) => plane.on("plotly_click", ({ points }) => {
    if (points[0].curveNumber === 0) choose(points[0].pointNumber);
  }));
}

if (byId("copy")) {
  byId("copy").addEventListener("click", async () => {
    const command = byId("command");
    try {
      await navigator.clipboard.writeText(command.textContent);
      say("Copied");
    } catch {
      getSelection().selectAllChildren(command);
      say("Selected: press Ctrl+C to copy");
    }
  });
}

function drawAll() {
  for (const [id, figure] of Object.entries(data.figures)) drawFigure(id, figure);
  if (data.map) drawMap();
}

for (const [id, figure] of Object.entries(data.figures)) drawFigure(id, figure);
if (data.map) startMap();
dark.addEventListener("change", drawAll);
narrow.addEventListener("change", () => {
  // Plotly keeps the room of a colour bar whose direction changes, unless it starts afresh.
  for (const id of Object.keys(data.figures)) Plotly.purge(id);
  drawAll();
});
