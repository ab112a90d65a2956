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
// Questions: the answer is compared as the notebooks compare it, a number within its tolerance.
const readNumber = (text) => {
  const [above, below = "1", ...more] = text.replace(",", ".").replace("\u2212", "-").replace(/\s*%$/, "").split("/");
  return above.trim() === "" || below.trim() === "" || more.length ? NaN : Number(above) / Number(below);
};
const judge = (answer, { solution, tolerance, passed, hint }) => {
  if (answer === "") return "not attempted yet";
  const isNumber = typeof solution === "number";
  if (isNumber && !Number.isFinite(readNumber(answer))) return `expected a number, got ${answer}`;
  const fits = isNumber ? Math.abs(readNumber(answer) - solution) <= tolerance : answer === solution;
  return fits ? passed : `not yet: ${answer} is not it. ${hint}`;
};
const ask = (form) => {
  const known = JSON.parse(form.querySelector("script").textContent);
  const said = form.querySelector("[role=status]");
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = form.querySelector("input[type=text], input:checked");
    said.textContent = judge(field ? field.value.trim() : "", known);
    form.dataset.passed = said.textContent === known.passed;
  });
};
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".quiz").forEach(ask);
  document.querySelectorAll(".play").forEach(play);
  const reach = () => {
    for (const part of document.querySelectorAll("pre, .table-wrapper, .math-wrapper, div.math, .cell_output"))
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
      else part.removeAttribute("tabindex");
  };
  reach();
  addEventListener("resize", reach);
  addEventListener("toggle", reach, true); // a solution that unfolds
});
