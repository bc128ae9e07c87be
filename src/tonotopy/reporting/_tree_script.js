"use strict";

// Runs after the script of the page, whose figures and drawing it uses.

for (const choice of document.querySelectorAll("input[name=level]")) {
  choice.addEventListener("change", () => {
    // Kept among the figures, so that a change of theme draws the chosen level again.
    data.figures["level-confusion"] = data.levels[choice.value];
    drawFigure("level-confusion", data.levels[choice.value]);
  });
}

for (const button of document.querySelectorAll("[data-unfold]")) {
  button.addEventListener("click", () => {
    for (const node of document.querySelectorAll(".taxa details")) node.open = button.dataset.unfold === "true";
  });
}
