// What scrolls sideways can be reached by keyboard; a page that was opened from a folder fetches nothing.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS === "object")
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false; // summaries would be fetched page by page
document.addEventListener("DOMContentLoaded", () => {
  const reach = () => {
    for (const part of document.querySelectorAll("pre, .table-wrapper, .math-wrapper, div.math"))
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
      else part.removeAttribute("tabindex");
  };
  reach();
  addEventListener("resize", reach);
  addEventListener("toggle", reach, true); // a solution that unfolds
});
