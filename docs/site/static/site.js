// What scrolls sideways can be reached by keyboard; a page that was opened from a folder fetches nothing.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS === "object")
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false; // summaries would be fetched page by page
// Sliders: the figure of the cell before takes the frame that belongs to their places, the last slider fastest.
const play = (controls) => {
  let cell = controls.previousElementSibling;
  while (cell && !cell.matches(".cell")) cell = cell.previousElementSibling;
  const figure = cell && [...cell.querySelectorAll("img")].pop();
  if (!figure) return;
  const { labels, texts } = JSON.parse(controls.querySelector("script").textContent);
  const sliders = [...controls.querySelectorAll("input")];
  controls.hidden = false;
  controls.addEventListener("input", () => {
    const frame = sliders.reduce((at, slider, k) => at * labels[k].length + Number(slider.value), 0);
    figure.src = `${controls.dataset.frames}/${frame}.png`;
    figure.alt = texts[frame];
    figure.removeAttribute("style");
    sliders.forEach((slider, k) => {
      const label = labels[k][slider.value];
      slider.setAttribute("aria-valuetext", label);
      slider.parentElement.querySelector("output").textContent = label;
    });
  });
};
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".play").forEach(play);
  const reach = () => {
    for (const part of document.querySelectorAll("pre, .table-wrapper, .math-wrapper, div.math"))
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
      else part.removeAttribute("tabindex");
  };
  reach();
  addEventListener("resize", reach);
  addEventListener("toggle", reach, true); // a solution that unfolds
});
