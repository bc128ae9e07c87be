"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 44rem)");

let toastTimer = 0;

function say(text) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.classList.remove("on"), 4000);
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

// Colours come from the style sheet, so that charts follow light and dark.

const scales = {
  blues: {
    light: ["#f7f5f2", "#c9dcec", "#7fb2d8", "#2f79b5", "#0b2f63"],
    dark: ["#26242d", "#27425f", "#2f6ea3", "#6aaee0", "#e2f1ff"],
  },
  warmth: {
    light: ["#fbe3b0", "#f0a052", "#cf4a52", "#7a2e8e", "#23124f"],
    dark: ["#3d2b72", "#8f3f9c", "#d9606a", "#f2ab63", "#fdf0c8"],
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
    if (trace.ring) return { ...trace, marker: { ...trace.marker, color: css("--accent") } };
    if (trace.type === "scatter" && trace.marker && trace.marker.colours) {
      const rim = { width: 1, color: css("--soft") };
      const line = { ...trace.line, color: css("--soft") };
      return { ...trace, line, marker: { ...trace.marker, ...scaled(trace.marker), line: rim } };
    }
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

// What else is drawn anew with the charts; a script that follows may say.
let drawMore = () => {};

function drawAll() {
  for (const [id, figure] of Object.entries(data.figures)) drawFigure(id, figure);
  drawMore();
}

drawAll();
dark.addEventListener("change", drawAll);
narrow.addEventListener("change", () => {
  // Plotly keeps the room of a colour bar whose direction changes, unless it starts afresh.
  for (const id of Object.keys(data.figures)) Plotly.purge(id);
  drawAll();
});
