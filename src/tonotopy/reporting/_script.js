"use strict";

// Runs after the script of all pages, whose data and helpers it uses.

const sounds = JSON.parse(document.getElementById("audio").textContent);
const coarse = matchMedia("(pointer: coarse)");

// One player for the whole page, so that only one clip sounds at a time.

const nameOf = new Map(Object.entries(data.names));
if (data.map) data.map.clip.forEach((clip, point) => nameOf.set(String(clip), data.map.name[point]));

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

drawMore = () => {
  if (data.map) drawMap();
};

if (data.map) startMap();
