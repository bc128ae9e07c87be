"use strict";

// Runs after the script of the page, whose figures and drawing it uses.

byId("machine").addEventListener("change", (event) => {
  const chosen = event.target.value;
  for (const [id, figure] of Object.entries(data.machines[chosen])) {
    if (!byId(id)) continue;
    // Kept among the figures, so that a change of theme draws the chosen machine again.
    if (figure) {
      data.figures[id] = figure;
      drawFigure(id, figure);
    } else {
      delete data.figures[id];
      Plotly.purge(id);
    }
  }
  for (const block of document.querySelectorAll("[data-machine]")) block.hidden = block.dataset.machine !== chosen;
});
